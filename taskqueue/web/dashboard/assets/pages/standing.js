// How a worker is, in a word.
import { Badge } from "../kit/parts.js";
import { html } from "../kit/view.js";
import { count } from "../kit/words.js";

// Each with its kind, and what it means; the worst that is so counts.
export const STANDINGS = {
  stalled: ["bad", "it beats and has room, but does not claim the work that waits for it"],
  disconnected: ["warn", "its connection is lost; its leases are kept for it for a while"],
  missing: ["warn", "it was there before the broker restarted, and is not back yet"],
  ending: ["warn", "it was told to finish what it has, and to stop"],
  quiet: ["quiet", "it was told to claim no more"],
  busy: ["good", "every slot is in use"],
  working: ["good", "it beats, and has tasks in hand"],
  idle: ["good", "it beats, and waits for tasks"],
};

export function standingOf(worker) {
  if (worker.stalled) return "stalled";
  if (!worker.connected) return worker.recovered ? "missing" : "disconnected";
  if (worker.order === "terminate") return "ending";
  if (worker.order === "quiet") return "quiet";
  if (worker.leases >= worker.capacity) return "busy";
  return worker.leases > 0 ? "working" : "idle";
}

export function StandingBadge({ worker }) {
  const word = standingOf(worker);
  const [kind, meaning] = STANDINGS[word];
  return html`<${Badge} kind=${kind} title=${meaning}>${word}<//>`;
}

// How many of its slots are in use.  That all are is how it should be.
export function Load({ worker, children }) {
  const share = worker.capacity > 0 ? Math.min(1, worker.leases / worker.capacity) : 0;
  return html`<span class="load">
    <meter class="meter" min="0" max="1" value=${share} aria-label=${`Slots of ${worker.id} in use`}></meter>
    ${children ?? `${count(worker.leases)} of ${count(worker.capacity)}`}
  </span>`;
}
