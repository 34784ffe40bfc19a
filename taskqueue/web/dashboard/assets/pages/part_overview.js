// The overview of those who may not read every queue: the queues that they may read, together.
import { useResource } from "../kit/live.js";
import { Empty, Figure, Loading, Notice, Panel, QueueLink, Trouble } from "../kit/parts.js";
import { Table, useOrder } from "../kit/table.js";
import { html } from "../kit/view.js";
import { count, counted, decimal, roughly } from "../kit/words.js";
import { Standing, TierBar, useRates } from "./queue_parts.js";

const MOST = 1000;
const EVERY_MS = 3000;

// `below` draws what comes beneath, from the totals of all these queues and their dead letters.
export function PartOverview({ below }) {
  const { data, problem } = useResource(`/queues?limit=${MOST}`, { every: EVERY_MS });
  const rates = useRates(data?.queues);
  if (!data) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Loading} />`;
  const { queues } = data;
  const sum = (value) => queues.reduce((all, queue) => all + value(queue), 0);
  const dead = sum((queue) => queue.states.dead_letter);
  const totals = Object.fromEntries(["failed", "lost", "dead", "revived"].map((name) => [name, sum((queue) => queue.totals[name])]));
  return html`
    <${Notice} kind="info">These are the ${counted(queues.length, "queue")} that you may read${data.next !== null && `, the first ${count(MOST)}`};
      numbers of the whole broker are for those who may read every queue.<//>
    <${Trouble} problem=${problem} />
    <${Figures} ...${{ queues, rates, sum, dead }} />
    <${List} ...${{ queues, rates }} />
    ${below({ totals, dead })}`;
}

function Figures({ queues, rates, sum, dead }) {
  const oldest = Math.max(0, ...queues.map((queue) => queue.oldest_ready_s));
  const rate = (event) => `${decimal(sum((queue) => rates.get(queue.name)?.[event] ?? 0) * 60)}/min`;
  return html`<div class="figures">
    <${Figure} title="Waiting" value=${count(sum((queue) => queue.depth))} href="/tasks?state=pending,scheduled,blocked,failed&order=oldest"
      note=${`${count(sum((queue) => queue.states.pending))} ready`} />
    <${Figure} title="Oldest ready" value=${oldest > 0 ? roughly(oldest) : "–"} />
    <${Figure} title="In progress" value=${count(sum((queue) => queue.states.in_progress))} href="/tasks?state=in_progress" />
    <${Figure} title="Completed" value=${rate("completed")} href="/tasks?state=completed" />
    <${Figure} title="Failed tries" value=${rate("failed")} href="/tasks?state=failed,dead_letter" />
    <${Figure} title="Dead letters" value=${count(dead)} kind=${dead ? "bad" : ""} href="/dead-letters" />
  </div>`;
}

const right = { align: "right" };

function columns(rates) {
  const done = (queue) => rates.get(queue.name)?.completed;
  return [
    { key: "name", title: "Queue", sort: (q) => q.name, cell: (q) => html`<strong><${QueueLink} name=${q.name} /></strong> <${Standing} queue=${q} />` },
    { key: "depth", title: "Waiting", ...right, sort: (q) => q.depth, cell: (q) => html`${count(q.depth)} <${TierBar} tiers=${q.tiers} />` },
    { key: "in_progress", title: "In progress", ...right, sort: (q) => q.states.in_progress, cell: (q) => count(q.states.in_progress) },
    { key: "out", title: "Completed", ...right, sort: done, cell: (q) => (done(q) === undefined ? "…" : `${decimal(done(q) * 60)}/min`) },
    { key: "dead", title: "Dead letters", ...right, sort: (q) => q.states.dead_letter, cell: (q) => count(q.states.dead_letter) },
  ];
}

function List({ queues, rates }) {
  const [order, setOrder] = useOrder("-depth");
  return html`<${Panel} title="Queues" aside=${html`<a href="/queues">All numbers</a>`}>
    <${Table} caption="Queues that you may read" columns=${columns(rates)} rows=${queues} keyOf=${(queue) => queue.name}
      order=${order} onOrder=${setOrder} empty=${html`<${Empty} title="There is no queue that you may read." />`} />
  <//>`;
}
