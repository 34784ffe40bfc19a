// A task's life: where its time went, and what happened when.
import { brokerNow } from "../kit/api.js";
import { Icon } from "../kit/icons.js";
import { At, WorkerLink } from "../kit/parts.js";
import { html } from "../kit/view.js";
import { duration, exact, spaced } from "../kit/words.js";

// How an event is spoken of, and which state's picture stands for it.
const EVENTS = {
  submitted: ["Submitted", "pending"],
  began: ["Begun", "in_progress"],
  completed: ["Completed", "completed"],
  failed: ["Failed", "failed"],
  dead_letter: ["Failed for good", "dead_letter"],
  lost: ["Lost with its worker", "failed"],
  released: ["Given back by its worker", "pending"],
  snoozed: ["Put off by its worker", "scheduled"],
  revived: ["Given another chance", "pending"],
  run_now: ["Let run before its time", "pending"],
  killed: ["Taken out of its queue", "dead_letter"],
  buried: ["Laid aside by its worker", "dead_letter"],
  cancel_requested: ["Cancel requested", "cancelled"],
  cancelled: ["Cancelled", "cancelled"],
  expired: ["Expired", "expired"],
  dependency_failed: ["A dependency ended badly", "dead_letter"],
};

// What says by itself that a task is a dead letter now, and whose doing that was.
const LAID_ASIDE = new Set(["buried", "killed"]);

// Everything that is known of a task, oldest first: { at, event, worker, detail, attempt }.
export function eventsOf(task) {
  const events = [{ at: task.submitted_at, event: "submitted" }];
  for (const one of task.history ?? []) {
    const { started_at: began, worker, attempt } = one;
    if (began !== undefined) events.push({ at: began, event: "began", worker, attempt });
    events.push(one);
  }
  const told = (task.history ?? []).some((one) => one.started_at === task.claimed_at);
  if (task.claimed_at !== undefined && !told) {
    events.push({ at: task.claimed_at, event: "began", worker: task.worker, attempt: task.attempt });
  }
  // A delivery is told of when it has ended, behind what happened meanwhile.
  events.sort((a, b) => a.at - b.at);
  const last = events.at(-1).event;
  const endTold = last === task.state || (task.state === "dead_letter" && LAID_ASIDE.has(last));
  const ended = task.ended_at !== undefined && !endTold;
  if (ended) events.push({ at: task.ended_at, event: task.state, worker: task.worker });
  return events;
}

// When it waited, and when it ran: { from, to, kind }.
function stretches(events, task) {
  const end = task.ended_at ?? brokerNow();
  const found = [];
  events.forEach(({ at, event }, place) => {
    const to = events[place + 1]?.at ?? end;
    const next = events[place + 1]?.event;
    const ran = event === "began" || (event === "cancel_requested" && task.state === "in_progress");
    const kind = ran ? (["failed", "lost"].includes(next) ? "failed" : "run") : "wait";
    if (to > at) found.push({ from: at, to, kind });
  });
  return found;
}

const WORDS = { wait: "waiting", run: "running", failed: "running, in vain" };

export function Life({ task }) {
  const events = eventsOf(task);
  const parts = stretches(events, task);
  const sum = (kind) => parts.filter((part) => part.kind === kind).reduce((all, part) => all + part.to - part.from, 0);
  const kinds = ["wait", "run", "failed"].filter((kind) => sum(kind) > 0);
  const total = parts.reduce((all, part) => all + part.to - part.from, 0);
  const told = kinds.map((kind) => `${duration(sum(kind))} ${WORDS[kind]}`).join(", ");
  const widths = parts.map((part) => Math.max(4, ((part.to - part.from) / total) * 1000));
  const scale = 1000 / widths.reduce((all, width) => all + width, 0);
  let place = 0;
  return html`
    ${total > 0 && html`<div class="life-bar">
      <svg viewBox="0 0 1000 14" preserveAspectRatio="none" role="img" aria-label=${told}>
        ${parts.map((part, number) => {
          const width = widths[number] * scale;
          const x = place;
          place += width;
          return html`<rect x=${x} y="0" width=${width} height="14" class=${`life-${part.kind}`}>
            <title>${WORDS[part.kind]} ${duration(part.to - part.from)}</title></rect>`;
        })}
      </svg>
      <p class="legend">${kinds.map((kind) => html`<span key=${kind}><i class=${`dot life-${kind}`}></i>
        ${duration(sum(kind))} ${WORDS[kind]}</span>`)}</p>
    </div>`}
    <ol class="timeline">${events.map((one, place) => html`<${Happening}
      key=${place} ...${one} since=${place > 0 ? one.at - events[place - 1].at : null} />`)}
      ${task.ended_at === undefined && html`<${Outlook} task=${task} />`}
    </ol>`;
}

function Happening({ at, event, worker, detail, attempt, since }) {
  const [words, picture] = EVENTS[event] ?? [spaced(event), "pending"];
  const first = detail?.split("\n")[0];
  return html`<li class=${`at-${picture}`}>
    <span class="knot"><${Icon} name=${picture} /></span>
    <div>
      <p><span><strong>${words}</strong>${event === "began" && attempt ? `, attempt ${attempt}` : ""}
          ${worker && event === "began" && html` on <${WorkerLink} name=${worker} />`}</span>
        <span class="spread"></span>
        <span class="quiet" title=${exact(at)}><${At} at=${at} />${since !== null && ` · +${duration(since)}`}</span></p>
      ${detail && (detail === first
        ? html`<p class="detail">${detail}</p>`
        : html`<details><summary class="detail">${first}</summary><pre class="code" tabindex="0">${detail}</pre></details>`)}
    </div>
  </li>`;
}

// What comes next, of a task that has not ended.
function Outlook({ task }) {
  const { state, run_at: at, expires_at: expires } = task;
  const words = {
    pending: "Next: a worker that runs it has a free slot",
    blocked: `Next: ${task.depends_on?.length === 1 ? "the task that it depends on completes" : "all tasks that it depends on complete"}`,
    in_progress: "Its worker has it in hand",
  }[state];
  return html`<li class="at-next"><span class="knot"></span><div><p class="quiet">
    ${words ?? html`Next: ${state === "failed" ? "another try" : "it becomes ready"} at <${At} at=${at} />`}
    ${expires !== undefined && html`; expires at <${At} at=${expires} />`}</p></div></li>`;
}
