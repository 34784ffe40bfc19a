// The workers: who is there, how they are, and how much they have to do.
import { Filters } from "../kit/filters.js";
import { useEvents, useResource, useThrottle } from "../kit/live.js";
import { Ago, Badge, Empty, Figure, Loading, QueueLink, Trouble, WorkerLink } from "../kit/parts.js";
import { useQuery } from "../kit/router.js";
import { Table, useOrder } from "../kit/table.js";
import { html, useState } from "../kit/view.js";
import { bytes, count, counted } from "../kit/words.js";
import { Load, STANDINGS, StandingBadge, standingOf } from "./standing.js";
import { Orders } from "./worker_orders.js";

const MOST = 1000;
const EVERY_MS = 2000;

const HEARS = { kind: ["worker"] };

export function Workers() {
  const { data, problem, reload } = useResource(`/workers?limit=${MOST}`, { every: EVERY_MS });
  const soon = useThrottle(reload, 500);
  useEvents(HEARS, () => soon());
  const [query] = useQuery();
  if (!data) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Loading} />`;
  const shown = data.workers.filter((worker) => fits(worker, query));
  return html`
    <h1 tabindex="-1">Workers</h1>
    <${Trouble} problem=${problem} />
    <${Totals} workers=${data.workers} more=${data.next !== null} />
    ${data.workers.length > 0 && html`<${Bar} workers=${data.workers} />`}
    <${List} workers=${shown} all=${data.workers.length} reload=${reload} />
  `;
}

// Whether a worker is among those that the address asks for.
function fits(worker, { name, queue, standing }) {
  if (name && !`${worker.id} ${worker.host ?? ""}`.toLowerCase().includes(name.toLowerCase())) return false;
  if (queue && !worker.queues.includes(queue)) return false;
  return !standing || standing.split(",").includes(standingOf(worker));
}

const sum = (workers, value) => workers.reduce((total, worker) => total + (value(worker) ?? 0), 0);

function Totals({ workers, more }) {
  const away = workers.filter((worker) => !worker.connected).length;
  const stalled = workers.filter((worker) => worker.stalled).length;
  const held = workers.filter((worker) => worker.order).length;
  const here = workers.filter((worker) => worker.connected && !worker.order);
  const slots = sum(here, (worker) => worker.capacity);
  const used = sum(here, (worker) => worker.leases);
  const health = [stalled && `${stalled} stalled`, away && `${away} away`, held && `${held} told to end`];
  return html`<div class="figures">
    <${Figure} title="Workers" value=${`${count(workers.length)}${more ? "+" : ""}`} kind=${stalled ? "bad" : away ? "warn" : ""}
      note=${health.filter(Boolean).join(", ") || "all well"} />
    <${Figure} title="Slots in use" value=${`${count(used)} of ${count(slots)}`}
      note=${slots ? `${Math.round((100 * used) / slots)} % of those that claim` : "nobody claims"} />
    <${Figure} title="Processor" value=${`${count(sum(workers, (worker) => worker.cpu_percent))} %`}
      note="100 % is one core" />
    <${Figure} title="Memory" value=${bytes(sum(workers, (worker) => worker.rss_bytes))} note="resident, together" />
    <${Figure} title="Completed" value=${count(sum(workers, (worker) => worker.completed))} note="since they registered" />
    <${Figure} title="Failed tries" value=${count(sum(workers, (worker) => worker.failed))}
      note=${`${count(sum(workers, (worker) => worker.lost))} lost`} />
  </div>`;
}

const Standing = (word) => html`<${Badge} kind=${STANDINGS[word][0]}>${word}<//>`;

function Bar({ workers }) {
  const queues = [...new Set(workers.flatMap((worker) => worker.queues))].sort();
  const standings = Object.keys(STANDINGS).filter((word) => workers.some((worker) => standingOf(worker) === word));
  return html`<${Filters} fields=${[
    { name: "name", label: "Name or host", kind: "search" },
    { name: "queue", label: "Queue", kind: "choice", options: [["", "any"], ...queues] },
    { name: "standing", label: "Health", kind: "choices", options: standings, draw: Standing },
  ]} />`;
}

const right = { align: "right" };

const COLUMNS = [
  { key: "name", title: "Worker", sort: (w) => w.id, cell: (w) => html`<strong><${WorkerLink} name=${w.id} /></strong>` },
  { key: "health", title: "Health", sort: (w) => Object.keys(STANDINGS).indexOf(standingOf(w)), cell: (w) => html`<${StandingBadge} worker=${w} />` },
  { key: "load", title: "In hand", sort: (w) => w.leases / w.capacity, cell: (w) => html`<${Load} worker=${w} />` },
  { key: "queues", title: "Queues", className: "wrap", cell: (w) => html`<span>${w.queues.map((name, i) => html`${i > 0 && ", "}<${QueueLink} name=${name} />`)}</span>` },
  { key: "beat", title: "Heartbeat", sort: (w) => w.beat_at, cell: (w) => html`<${Ago} at=${w.beat_at} />` },
  { key: "cpu", title: "CPU", ...right, sort: (w) => w.cpu_percent, cell: (w) => (w.cpu_percent === null ? "–" : `${Math.round(w.cpu_percent)} %`) },
  { key: "rss", title: "Memory", ...right, sort: (w) => w.rss_bytes, cell: (w) => bytes(w.rss_bytes) },
  { key: "completed", title: "Completed", ...right, sort: (w) => w.completed, cell: (w) => count(w.completed) },
  { key: "failed", title: "Failed", ...right, sort: (w) => w.failed, cell: (w) => html`${count(w.failed)}${w.lost > 0 && html`<br /><small class="quiet">${count(w.lost)} lost</small>`}` },
];


function List({ workers, all, reload }) {
  const [order, setOrder] = useOrder("name");
  const [chosen, change] = useState(new Set());
  if (all === 0) {
    return html`<${Empty} title="No worker is registered.">
      <p>Tasks wait until one is. <a href="/welcome">How to start one</a></p>
    <//>`;
  }
  const here = workers.filter((worker) => chosen.has(worker.id));
  return html`
    <div class="actions">
      <span class="quiet">${here.length ? `${counted(here.length, "worker")} selected` : "Select workers to tell them something"}</span>
      <${Orders} workers=${here} reload=${() => (change(new Set()), reload())} />
    </div>
    <${Table}
      caption="Workers"
      columns=${COLUMNS}
      rows=${workers}
      keyOf=${(worker) => worker.id}
      order=${order}
      onOrder=${setOrder}
      selection=${{ chosen, change }}
      empty=${html`<${Empty} title=${`None of ${counted(all, "worker")} is like that.`} />`}
    />`;
}
