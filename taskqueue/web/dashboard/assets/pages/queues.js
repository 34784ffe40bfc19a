// Queues: how deep they are, how fast they go, and whether they are held back.
import { useResource } from "../kit/live.js";
import { Empty, Loading, QueueLink, Trouble } from "../kit/parts.js";
import { Filters } from "../kit/filters.js";
import { query as queryOf, useQuery } from "../kit/router.js";
import { Pager, Table, useOrder } from "../kit/table.js";
import { html } from "../kit/view.js";
import { count, decimal, duration } from "../kit/words.js";
import { Standing, TierBar, useRates } from "./queue_parts.js";

const PAGE = 1000;
const EVERY_MS = 3000;

const FIELDS = [{ name: "name", label: "Search", kind: "search", placeholder: "part of a queue's name" }];

const perMinute = (value) => (value === undefined ? html`<span class="quiet">…</span>` : `${decimal(value * 60)}/min`);

const stateLink = (queue, state) => {
  const number = queue.states[state];
  if (number === 0) return html`<span class="quiet">0</span>`;
  return html`<a href=${`/tasks${queryOf({ queue: queue.name, state })}`}>${count(number)}</a>`;
};

function columns(rates) {
  const rate = (name) => (queue) => rates.get(queue.name)?.[name];
  return [
    { key: "name", title: "Queue", sort: (q) => q.name, cell: (q) => html`<strong><${QueueLink} name=${q.name} /></strong> <${Standing} queue=${q} />` },
    { key: "depth", title: "Waiting", align: "right", sort: (q) => q.depth, cell: (q) => html`${count(q.depth)} <${TierBar} tiers=${q.tiers} />` },
    { key: "oldest", title: "Oldest ready", align: "right", sort: (q) => q.oldest_ready_s, cell: (q) => (q.oldest_ready_s > 0 ? duration(Math.round(q.oldest_ready_s)) : html`<span class="quiet">–</span>`) },
    { key: "in_progress", title: "In progress", align: "right", sort: (q) => q.states.in_progress, cell: (q) => stateLink(q, "in_progress") },
    { key: "in", title: "Submitted", align: "right", sort: rate("submitted"), cell: (q) => perMinute(rate("submitted")(q)) },
    { key: "out", title: "Completed", align: "right", sort: rate("completed"), cell: (q) => perMinute(rate("completed")(q)) },
    { key: "failed", title: "Failed", align: "right", sort: rate("failed"), cell: (q) => perMinute(rate("failed")(q)) },
    { key: "dead", title: "Dead letters", align: "right", sort: (q) => q.states.dead_letter, cell: (q) => stateLink(q, "dead_letter") },
  ];
}

export function Queues() {
  const [query] = useQuery();
  const path = `/queues${queryOf({ limit: PAGE, after: query.after })}`;
  const { data, problem } = useResource(path, { every: EVERY_MS });
  const [order, setOrder] = useOrder("name");
  const rates = useRates(data?.queues);
  const wanted = (query.name ?? "").toLowerCase();
  const queues = (data?.queues ?? []).filter((queue) => queue.name.toLowerCase().includes(wanted));
  return html`
    <h1 tabindex="-1">Queues</h1>
    <${Filters} fields=${FIELDS} />
    <${Trouble} problem=${problem} />
    ${data === undefined
      ? !problem && html`<${Loading} />`
      : html`<${Table}
          caption="Queues"
          columns=${columns(rates)}
          rows=${queues}
          keyOf=${(queue) => queue.name}
          order=${order}
          onOrder=${setOrder}
          empty=${html`<${Empty} title=${wanted ? "No queue of this page has that in its name." : "There is no queue yet."}>
            ${!wanted && html`A queue is there as soon as a task is submitted to it: <a href="/welcome">first steps</a>.`}
          <//>`}
        />
        <${Pager} next=${data.next} shown=${queues.length} noun="queue" />`}
  `;
}
