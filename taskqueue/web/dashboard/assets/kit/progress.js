// How far a task says it is: as a bar where that can be told, and in words.
import { Meter } from "./parts.js";
import { html } from "./view.js";
import { count, decimal } from "./words.js";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// What part of it is done, from 0 to 1; null where it does not say.
function shareOf(value) {
  if (value === null || typeof value !== "object") return null;
  const whole = [value.of, value.total].find(isNumber);
  const done = [value.done, value.part, value.step, value.current].find(isNumber);
  if (whole > 0 && done >= 0) return Math.min(1, done / whole);
  if (isNumber(value.percent)) return Math.min(1, Math.max(0, value.percent / 100));
  return null;
}

const WHOLES = ["of", "total"];

// "step encoding, part 605 of 900"; without the percentage where it stands beside a bar.
function wordsOf(value, share) {
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .filter(([name]) => share === null || name !== "percent")
    .map(([name, part], place) => {
      const text = isNumber(part) ? (Number.isInteger(part) ? count(part) : decimal(part)) : JSON.stringify(part);
      const plain = text.replace(/^"|"$/g, "");
      return WHOLES.includes(name) ? ` of ${plain}` : `${place > 0 ? ", " : ""}${name} ${plain}`;
    })
    .join("")
    .trim();
}

export function Progress({ value, label = "Progress" }) {
  if (value === null || value === undefined) return html`<span class="quiet">–</span>`;
  const share = shareOf(value);
  const words = wordsOf(value, share);
  return html`<span class="progress" title=${words}>
    ${share !== null && html`<progress max="1" value=${share} aria-label=${label}></progress>
      <b>${Math.floor(share * 100)} %</b>`}
    <small class="quiet">${words}</small>
  </span>`;
}
