// What the list of queues and the page of one have in common.
import { At, Badge } from "../kit/parts.js";
import { html, useRef } from "../kit/view.js";
import { count } from "../kit/words.js";

// Rates are told over this time, seconds: long enough to be calm.
const WINDOW_S = 30;

// Events per second of each queue lately, from what its totals were before: a map from
// name to { submitted, completed, failed, … }; nothing of a queue that was seen once.
export function useRates(queues) {
  const seen = useRef(new Map());
  const last = useRef(null);
  const rates = useRef(new Map());
  if (queues === undefined || queues === last.current) return rates.current;
  last.current = queues;
  const now = performance.now() / 1000;
  const next = new Map();
  for (const { name, totals } of queues) {
    const earlier = (seen.current.get(name) ?? []).filter(
      // After a restart of the broker totals begin anew.
      (sample) => now - sample.now <= WINDOW_S && sample.totals.submitted <= totals.submitted,
    );
    seen.current.set(name, [...earlier, { now, totals }]);
    const first = earlier[0];
    if (first) next.set(name, ratesOf(first.totals, totals, now - first.now));
  }
  rates.current = next;
  return next;
}

function ratesOf(before, after, seconds) {
  return Object.fromEntries(
    Object.entries(after).map(([name, total]) => [name, Math.max(0, total - before[name]) / seconds]),
  );
}

// What holds a queue back.
export function Standing({ queue }) {
  return html`
    ${queue.paused && html`<${Badge} kind="warn">paused${queue.resume_at && html` until <${At} at=${queue.resume_at} />`}<//>`}
    ${queue.draining
      ? html` <${Badge} kind="warn">draining<//>`
      : queue.max_depth !== null && html` <${Badge} kind=${queue.depth >= queue.max_depth ? "bad" : "quiet"} title="more are refused">
          ${queue.depth >= queue.max_depth ? "full: " : ""}at most ${count(queue.max_depth)}<//>`}`;
}

// How the waiting tasks are spread over the tiers, as large as a word.
export function TierBar({ tiers }) {
  const all = tiers.high + tiers.normal + tiers.low;
  if (all === 0) return html`<svg class="tier-bar" aria-hidden="true"></svg>`; // numbers stay in line
  let place = 0;
  const told = ["high", "normal", "low"].map((tier) => `${count(tiers[tier])} ${tier}`).join(", ");
  return html`<svg class="tier-bar" viewBox="0 0 60 8" preserveAspectRatio="none" role="img" aria-label=${told}>
    <title>${told}</title>
    ${["high", "normal", "low"].map((tier) => {
      const width = (60 * tiers[tier]) / all;
      const x = place;
      place += width;
      return html`<rect key=${tier} class=${`tier-${tier}`} x=${x} y="0" width=${width} height="8" />`;
    })}
  </svg>`;
}
