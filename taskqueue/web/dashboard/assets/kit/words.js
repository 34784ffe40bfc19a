// Numbers, durations, sizes and moments in words.

const plain = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// 12,345; 1.2M from a million on.
export function count(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1e6 ? short.format(value) : plain.format(Math.round(value));
}

// "1 task", "12 tasks"
export function counted(value, noun, plural = `${noun}s`) {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

// 0.04, 1.3, 27, 1,204
export function decimal(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value < 10) return String(Number(value.toPrecision(2)));
  return count(value);
}

const UNITS = [
  [86400, "d", 3600, "h"],
  [3600, "h", 60, "min"],
  [60, "min", 1, "s"],
];

// "380 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 0.0095) return `${Number((seconds * 1000).toPrecision(2))} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  for (const [size, unit, smaller, smallerUnit] of UNITS) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / smaller);
    const many = whole >= size * (unit === "d" ? 30 : 24);
    return `${Math.floor(whole / size)} ${unit}${rest && !many ? ` ${rest} ${smallerUnit}` : ""}`;
  }
  return `${whole} s`;
}

// The same with one unit, for "about 4 min".
export function roughly(seconds) {
  for (const [size, unit] of UNITS) {
    if (seconds >= size * 1.5) return `${Math.round(seconds / size)} ${unit}`;
  }
  return seconds < 1 ? "1 s" : `${Math.round(seconds)} s`;
}

// "just now", "3 min ago", "in 5 s"
export function distance(at, now) {
  const ago = now - at;
  if (ago >= 0 && ago < 2) return "just now";
  return ago < 0 ? `in ${roughly(-ago)}` : `${roughly(ago)} ago`;
}

const exactly = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// With the day and the zone.
export function exact(at) {
  return exactly.format(at * 1000);
}

// The time of day, with the day where that is not today.
export function timeOfDay(at) {
  const date = new Date(at * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return today ? clock.format(date) : day.format(date);
}

export function isoOf(at) {
  return new Date(at * 1000).toISOString();
}

// "512 bytes", "12 kB", "3.4 MB"
export function bytes(size) {
  if (size === null || size === undefined) return "–";
  if (size < 1000) return counted(size, "byte");
  for (const [most, unit, by] of [[1e6, "kB", 1e3], [1e9, "MB", 1e6], [Infinity, "GB", 1e9]]) {
    if (size < most) return `${Number((size / by).toPrecision(size / by < 100 ? 2 : 3))} ${unit}`;
  }
  return "–";
}

// The first line of an error, as a list shows it.
export function firstLine(text) {
  return (text ?? "").split("\n", 1)[0];
}

// The part of an id that tells tasks of one moment apart.
export function shortId(id) {
  return `…${id.slice(-8)}`;
}

// A state's or an event's word for people: "dead_letter" is "dead letter".
export function spaced(word) {
  return word.replaceAll("_", " ");
}
