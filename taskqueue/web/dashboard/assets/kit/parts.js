// The small parts that pages are made of.
import { brokerNow } from "./api.js";
import { Icon } from "./icons.js";
import { say } from "./toasts.js";
import { address } from "./router.js";
import { Value, useValue } from "./value.js";
import { html, useEffect, useState } from "./view.js";
import * as words from "./words.js";

// --- moments -------------------------------------------------------------------------

// Ages grow while one looks at them.
const tick = new Value(0);
setInterval(() => document.hidden || tick.change((n) => n + 1), 2000);

// A moment as a distance from now; the exact one is its title.
export function Ago({ at }) {
  useValue(tick);
  if (at === null || at === undefined) return html`<span class="quiet">–</span>`;
  const text = words.distance(at, brokerNow());
  return html`<time datetime=${words.isoOf(at)} title=${words.exact(at)}>${text}</time>`;
}

// How long something has gone on, and goes on.
export function Since({ at }) {
  useValue(tick);
  const text = words.duration(Math.max(0, Math.round(brokerNow() - at)));
  return html`<time datetime=${words.isoOf(at)} title=${`since ${words.exact(at)}`}>${text}</time>`;
}

// A moment as the time of day.
export function At({ at }) {
  if (at === null || at === undefined) return html`<span class="quiet">–</span>`;
  const text = words.timeOfDay(at);
  return html`<time datetime=${words.isoOf(at)} title=${words.exact(at)}>${text}</time>`;
}

// --- states --------------------------------------------------------------------------

export const STATES = [
  "pending", "scheduled", "blocked", "in_progress", "failed",
  "completed", "dead_letter", "cancelled", "expired",
];

export const LIVE = STATES.slice(0, 5);

const STATE_TITLES = {
  pending: "ready, waits for a worker",
  scheduled: "waits for its time",
  blocked: "waits for tasks that it depends on",
  in_progress: "a worker has it",
  failed: "failed, waits for its next try",
  completed: "done",
  dead_letter: "failed for good; a person may let it run again",
  cancelled: "somebody took it back",
  expired: "its time went by before it was begun",
};

// A task's state by colour, shape and word.
export function State({ state, note }) {
  return html`<span class=${`state state-${state}`} title=${STATE_TITLES[state]}>
    <${Icon} name=${state} />${words.spaced(state)}${note && html` <small>${note}</small>`}
  </span>`;
}

// Anything else that is good, bad or between: kind is "good", "warn", "bad" or "quiet".
export function Badge({ kind = "quiet", title, children }) {
  return html`<span class=${`badge badge-${kind}`} title=${title}>${children}</span>`;
}

// --- tasks and queues by name ---------------------------------------------------------

export function TaskLink({ id, whole = false }) {
  const text = whole ? id : words.shortId(id);
  return html`<a class="mono" href=${address("tasks", id)} title=${id}>${text}</a>`;
}

// Names of queues of other protocols may be longer than there is room for.
const ROOM = 30;

export function QueueLink({ name }) {
  const long = name.length > ROOM;
  return html`<a href=${address("queues", name)} class=${long ? "long" : null} title=${long ? name : null}>${name}</a>`;
}

// What workers may be called by; whoever holds tasks without having registered is told of otherwise.
const REGISTERED = /^[\w\-.:/]+$/;

export function WorkerLink({ name }) {
  if (!name) return html`<span class="quiet">–</span>`;
  if (!REGISTERED.test(name)) return html`<span>${name}</span>`;
  return html`<a href=${address("workers", name)}>${name}</a>`;
}

// --- boxes ---------------------------------------------------------------------------

// A part of a page with a heading; `aside` stands beside it.
export function Panel({ title, aside, children, className = "" }) {
  return html`<section class=${`panel ${className}`}>
    ${title && html`<header><h2>${title}</h2>${aside && html`<div class="aside">${aside}</div>`}</header>`}
    ${children}
  </section>`;
}

// One number with its name, and a word about it.
export function Figure({ title, value, note, kind = "", href }) {
  const inner = html`<dt>${title}</dt><dd>${value}</dd>${note && html`<dd class="note">${note}</dd>`}`;
  const body = html`<dl class=${`figure ${kind && `figure-${kind}`}`}>${inner}</dl>`;
  return href ? html`<a class="figure-link" href=${href}>${body}</a>` : body;
}

// What stands where a list is empty.
export function Empty({ title, children }) {
  return html`<div class="empty"><p>${title}</p>${children && html`<div>${children}</div>`}</div>`;
}

// What went wrong with a resource, where the page would be.
export function Trouble({ problem }) {
  if (!problem) return null;
  return html`<div class="notice notice-bad" role="alert">
    <${Icon} name="dead" /><div><strong>${problem.view.title ?? "That did not work."}</strong>
    <p>${problem.message}</p></div>
  </div>`;
}

// A remark that matters: kind is "warn", "bad" or "info".
export function Notice({ kind = "info", children }) {
  return html`<div class=${`notice notice-${kind}`}>
    <${Icon} name=${kind === "info" ? "help" : "dead"} /><div>${children}</div>
  </div>`;
}

export function Loading() {
  return html`<p class="loading" role="status">Loading …</p>`;
}

// --- buttons -------------------------------------------------------------------------

// A button that may be out of order: `denied` says why it is, and null that it is not.
export function Button({ onClick, denied = null, kind = "", icon, title, disabled, children }) {
  return html`<button
    type="button"
    class=${`button ${kind}`}
    onClick=${denied === null ? onClick : undefined}
    disabled=${Boolean(disabled)}
    aria-disabled=${denied === null ? null : "true"}
    title=${denied ?? title}
  >
    ${icon && html`<${Icon} name=${icon} />`}<span>${children}</span>
  </button>`;
}

// Something to copy, with the button that does.
export function Copyable({ text, label = "Copy" }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    // Pages that did not come by HTTPS, nor from this machine, have no clipboard.
    const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    if (copied) setDone(true);
    else say("The browser does not let this page copy. Mark the text and copy it.", "warn");
  };
  return html`<div class="copyable">
    <pre tabindex="0"><code>${text}</code></pre>
    <${Button} kind="small" icon=${done ? "check" : "copy"} onClick=${copy}>
      ${done ? "Copied" : label}
    <//>
  </div>`;
}

// A share of something that has an end, as a bar.
export function Meter({ used, most, label }) {
  const share = most > 0 ? Math.min(1, used / most) : 0;
  const kind = share > 0.9 ? "bad" : share > 0.7 ? "warn" : "good";
  return html`<meter class=${`meter meter-${kind}`} min="0" max="1" value=${share} aria-label=${label}></meter>`;
}
