// One worker: how it is, and what it has in hand.
import { at } from "../kit/api.js";
import { useEvents, useResource, useThrottle } from "../kit/live.js";
import { Ago, Badge, Empty, Figure, Loading, Notice, Panel, QueueLink, Since, TaskLink, Trouble } from "../kit/parts.js";
import { Progress } from "../kit/progress.js";
import { query } from "../kit/router.js";
import { Table, useOrder } from "../kit/table.js";
import { html } from "../kit/view.js";
import { bytes, count, counted, duration } from "../kit/words.js";
import { Load, STANDINGS, StandingBadge, standingOf } from "./standing.js";
import { Orders } from "./worker_orders.js";

const EVERY_MS = 2000;

const HEARS = { kind: ["worker"] };

export function Worker({ name }) {
  const { data: worker, problem, reload } = useResource(at("workers", name), { every: EVERY_MS, keep: false });
  const soon = useThrottle(reload, 300);
  useEvents(HEARS, (_, event) => (event.worker?.id ?? name) === name && soon());
  const back = html`<p><a href="/workers">All workers</a></p>`;
  if (!worker) {
    if (problem?.status === 404) return html`<h1 tabindex="-1">${name}</h1><${Gone} />${back}`;
    return problem ? html`<${Trouble} problem=${problem} />${back}` : html`<${Loading} />`;
  }
  return html`
    <div class="title-row">
      <h1 tabindex="-1">${name}</h1>
      <${StandingBadge} worker=${worker} />
      <${Orders} workers=${[worker]} reload=${reload} danger="danger" />
    </div>
    ${problem && (problem.status === 404 ? html`<${Gone} />` : html`<${Trouble} problem=${problem} />`)}
    <${Remark} worker=${worker} />
    <${Figures} worker=${worker} />
    <${InHand} worker=${worker} />
    <${Facts} worker=${worker} />
  `;
}

function Gone() {
  return html`<${Notice} kind="info">No worker of this name is registered: it has signed off, or was given up.
    <a href=${`/tasks${query({ state: "in_progress" })}`}>What is in progress</a><//>`;
}

// What is not as it should be, and what that means.
function Remark({ worker }) {
  const word = standingOf(worker);
  const [kind, meaning] = STANDINGS[word];
  if (kind === "good") return null;
  const more = worker.connected || worker.leases === 0 ? ""
    : ` ${counted(worker.leases, "task")} it had in hand ${worker.leases === 1 ? "goes" : "go"} to others when the leases end.`;
  return html`<${Notice} kind=${kind === "quiet" ? "info" : kind}><strong>${word}:</strong> ${meaning}.${more}<//>`;
}

function Figures({ worker }) {
  return html`<div class="figures">
    <${Figure} title="In hand" value=${`${count(worker.leases)} of ${count(worker.capacity)}`}
      note=${html`<${Load} worker=${worker}>${""}<//>`} />
    <${Figure} title="Heartbeat" value=${html`<${Ago} at=${worker.beat_at} />`} note=${worker.connected ? `connected (${worker.door})` : "not connected"} />
    <${Figure} title="Processor" value=${worker.cpu_percent === null ? "–" : `${Math.round(worker.cpu_percent)} %`} note="100 % is one core" />
    <${Figure} title="Memory" value=${bytes(worker.rss_bytes)} note="resident" />
    <${Figure} title="Completed" value=${count(worker.completed)} href=${`/tasks${query({ worker: worker.id, state: "completed" })}`}
      note="since it registered" />
    <${Figure} title="Failed tries" value=${count(worker.failed)} kind=${worker.failed ? "warn" : ""}
      href=${`/tasks${query({ worker: worker.id, state: "failed,dead_letter" })}`} note=${`${count(worker.lost)} lost`} />
  </div>`;
}

const COLUMNS = [
  { key: "id", title: "Task", cell: (task) => html`<${TaskLink} id=${task.id} />` },
  { key: "type", title: "Type", sort: (task) => task.type, cell: (task) => html`<strong>${task.type}</strong>` },
  { key: "queue", title: "Queue", sort: (task) => task.queue, cell: (task) => html`<${QueueLink} name=${task.queue} />` },
  { key: "priority", title: "Priority", align: "right", sort: (task) => task.priority, cell: (task) => task.priority },
  { key: "attempt", title: "Try", align: "right", sort: (task) => task.attempt, cell: (task) => task.attempt },
  { key: "running", title: "For", align: "right", sort: (task) => -task.claimed_at, cell: (task) => html`<${Since} at=${task.claimed_at} />` },
  { key: "progress", title: "Progress", className: "wrap", cell: (task) => html`<${Progress} value=${task.progress} label=${`Progress of ${task.type}`} />` },
  { key: "lease", title: "Lease left", align: "right", sort: (task) => task.lease_left_s, cell: (task) => html`<${Lease} task=${task} />` },
];

function Lease({ task }) {
  if (task.cancel_requested) return html`<${Badge} kind="warn" title="Somebody asked it to stop">cancelling<//>`;
  const left = task.lease_left_s;
  return left > 0 ? duration(Math.ceil(left)) : html`<${Badge} kind="warn">over<//>`;
}

function InHand({ worker }) {
  const [order, setOrder] = useOrder("-running");
  const aside = worker.leases > worker.tasks.length && html`<span class="quiet">the first ${count(worker.tasks.length)}</span>`;
  return html`<${Panel} title="Tasks in hand" aside=${aside || null}>
    <${Table}
      caption="Tasks in hand"
      columns=${COLUMNS}
      rows=${worker.tasks}
      keyOf=${(task) => task.id}
      order=${order}
      onOrder=${setOrder}
      empty=${html`<${Empty} title="It has no task in hand." />`}
    />
  <//>`;
}

function Facts({ worker }) {
  const types = worker.types === null ? html`<span class="quiet">all</span>` : worker.types.join(", ");
  return html`<${Panel} title="About it">
    <dl class="about">
      <div><dt>Queues, in order of preference</dt><dd>${worker.queues.map((name, i) => html`${i > 0 && ", "}<${QueueLink} name=${name} />`)}</dd></div>
      <div><dt>Types</dt><dd>${types}</dd></div>
      <div><dt>Host and process</dt><dd>${worker.host ?? "–"}${worker.pid !== null && `, ${worker.pid}`}</dd></div>
      <div><dt>Registered</dt><dd><${Ago} at=${worker.registered_at} /></dd></div>
      <div><dt>Incarnation</dt><dd class="mono">${worker.incarnation}</dd></div>
    </dl>
  <//>`;
}
