// When something comes again, in words.
import { duration } from "./words.js";

const DAYS = ["Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];
const NAMES = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const WHOLE = { min: "minute", h: "hour", d: "day" };

const isNumber = (text) => /^\d{1,2}$/.test(text);
const two = (text) => text.padStart(2, "0");

// "every 15 s", or what a cron expression means; the expression itself where words for it
// would be longer than it is.
export function scheduleInWords({ cron, every_s: every }) {
  if (!cron) return `every ${duration(every).replace(/^1 (min|h|d)$/, (_, unit) => WHOLE[unit])}`;
  const fields = cron.trim().toLowerCase().split(/\s+/);
  return (fields.length === 5 && cronInWords(...fields)) || `cron ${cron}`;
}

function cronInWords(minute, hour, day, month, weekday) {
  if (month !== "*") return null;
  const each = /^\*\/(\d+)$/;
  if (day === "*" && weekday === "*") {
    if (minute === "*" && hour === "*") return "every minute";
    if (each.test(minute) && hour === "*") return `every ${each.exec(minute)[1]} min`;
    if (isNumber(minute) && hour === "*") return `every hour at :${two(minute)}`;
    if (isNumber(minute) && each.test(hour)) return `every ${each.exec(hour)[1]} h at :${two(minute)}`;
  }
  if (!isNumber(minute) || !isNumber(hour)) return null;
  const time = `at ${two(hour)}:${two(minute)}`;
  if (day === "*" && weekday === "*") return `every day ${time}`;
  if (day === "*") return daysInWords(weekday, time);
  return weekday === "*" && isNumber(day) ? `on day ${Number(day)} of each month ${time}` : null;
}

function daysInWords(weekday, time) {
  if (weekday === "1-5" || weekday === "mon-fri") return `Monday to Friday ${time}`;
  const numbers = weekday.split(",").map((one) => (isNumber(one) ? Number(one) : NAMES.indexOf(one)));
  if (numbers.some((number) => number < 0 || number > 7)) return null;
  const words = numbers.map((number) => DAYS[number]);
  return `${words.join(", ").replace(/, ([^,]*)$/, " and $1")} ${time}`;
}
