// Tasks: a list to search, filter and sort, and what is done to many of them.
import { ACTIONS, askBulk, uselessness } from "../kit/bulk.js";
import { Filters } from "../kit/filters.js";
import { useEvents, useResource, useThrottle } from "../kit/live.js";
import { Ago, Button, Empty, Loading, QueueLink, STATES, State, Trouble, WorkerLink } from "../kit/parts.js";
import { address, query as queryOf, useQuery } from "../kit/router.js";
import { denial, useDenial } from "../kit/session.js";
import { Pager, Table } from "../kit/table.js";
import { html, useEffect, useState } from "../kit/view.js";
import { counted, duration, firstLine, shortId } from "../kit/words.js";

const PAGE = 50;

// A list makes the store write what it holds back: not more often than this, milliseconds.
const AGAIN_MS = 2500;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const FIELDS = [
  {
    name: "error_contains",
    label: "Search",
    kind: "search",
    placeholder: "id of a task, or text in errors",
    leads: (text) => (UUID.test(text) ? address("tasks", text.toLowerCase()) : null),
  },
  { name: "queue", label: "Queue", kind: "text" },
  { name: "type", label: "Type", kind: "text" },
  { name: "order", label: "Order", kind: "choice", options: [["", "newest first"], ["oldest", "oldest first"]] },
];

const MORE = [
  { name: "worker", label: "Worker", kind: "text" },
  { name: "priority_from", label: "Priority from", kind: "number" },
  { name: "priority_to", label: "Priority below", kind: "number" },
  { name: "submitted_from", label: "Submitted from", kind: "moment" },
  { name: "submitted_to", label: "Submitted before", kind: "moment" },
  { name: "ended_from", label: "Ended from", kind: "moment" },
  { name: "ended_to", label: "Ended before", kind: "moment" },
  {
    name: "state",
    label: "State",
    kind: "choices",
    options: STATES,
    draw: (state) => html`<${State} state=${state} />`,
  },
];

const NUMBERS = ["priority_from", "priority_to", "submitted_from", "submitted_to", "ended_from", "ended_to"];
const TEXTS = ["queue", "type", "worker", "error_contains"];

// The parameters of the address as the bulk action's filter has them.
export function filterOf(query) {
  const filter = {};
  for (const name of TEXTS) if (query[name]) filter[name] = query[name];
  for (const name of NUMBERS) if (query[name]) filter[name] = Number(query[name]);
  if (query.state) filter.states = query.state.split(",");
  return filter;
}

const COLUMNS = [
  { key: "state", title: "State", cell: (task) => html`<${State} state=${task.state} note=${noteOf(task)} />` },
  {
    key: "task",
    title: "Task",
    cell: (task) => html`<a class="task-name" href=${address("tasks", task.id)} title=${task.id}>
      <strong>${task.type}</strong> <span class="mono">${shortId(task.id)}</span></a>`,
  },
  { key: "queue", title: "Queue", cell: (task) => html`<${QueueLink} name=${task.queue} />` },
  { key: "priority", title: "Priority", align: "right", cell: (task) => task.priority },
  { key: "submitted", title: "Submitted", cell: (task) => html`<${Ago} at=${task.submitted_at} />` },
  { key: "time", title: "Ran", align: "right", cell: (task) => ranFor(task) },
  { key: "worker", title: "Worker", cell: (task) => html`<${WorkerLink} name=${task.worker} />` },
  {
    key: "error",
    title: "Newest error",
    className: "error-line",
    cell: (task) => (task.error ? html`<span title=${task.error}>${firstLine(task.error)}</span>` : ""),
  },
];

function noteOf(task) {
  if (task.cancel_requested && task.state === "in_progress") return "to be cancelled";
  return task.failures > 0 && task.state !== "completed" ? `${task.failures}×` : null;
}

function ranFor(task) {
  return task.ended_at && task.claimed_at ? duration(Math.max(0, task.ended_at - task.claimed_at)) : "";
}

export function Tasks() {
  const [query] = useQuery();
  const { sort: _, ...parameters } = query;
  const path = `/tasks${queryOf({ ...parameters, limit: query.limit ?? PAGE })}`;
  const { data, problem, loading, reload } = useResource(path);
  const [chosen, setChosen] = useState(new Set());
  const soon = useThrottle(reload, AGAIN_MS);
  // Rows that move away below a selection would be chosen by mistake.
  const still = chosen.size > 0 || query.after !== undefined;
  useEvents(still ? null : { kind: ["task"], ...only("queue", query), ...only("type", query) }, soon);
  useEffect(() => setChosen(new Set()), [path]);
  const tasks = data?.tasks ?? [];
  return html`
    <div class="title-row">
      <h1 tabindex="-1">Tasks</h1>
      <span class="quiet">${still && chosen.size > 0 ? "stands still while tasks are selected" : ""}</span>
      <${Actions} ...${{ query, tasks, chosen, setChosen, reload }} />
    </div>
    <${Filters} fields=${FIELDS} more=${MORE} />
    <${Trouble} problem=${problem} />
    ${data === undefined
      ? !problem && html`<${Loading} />`
      : html`<${Table}
          caption="Tasks"
          columns=${COLUMNS}
          rows=${tasks}
          keyOf=${(task) => task.id}
          busy=${loading}
          selection=${{ chosen, change: setChosen, name: (task) => `${task.type} ${task.id}` }}
          empty=${html`<${Nothing} ...${{ query, next: data.next }} />`}
        />
        <${Pager} next=${data.next} shown=${tasks.length} noun="task" />`}
  `;
}

function only(name, query) {
  return query[name] ? { [name]: [query[name]] } : {};
}

// A page may be empty and still not be the last.
function Nothing({ query, next }) {
  if (next !== null) return html`<${Empty} title="Nothing so far: the search goes on with the next page." />`;
  const filtered = Object.keys(filterOf(query)).length > 0;
  return html`<${Empty} title=${filtered ? "No task matches." : "There is no task."}>
    ${!filtered && html`<a href="/welcome">How to submit one</a>`}
  <//>`;
}

function firstDenial(tasks) {
  return tasks.map((task) => denial("cancel", task.queue)).find((one) => one !== null) ?? null;
}

// For those that are selected, or else for all that match.
function Actions({ query, tasks, chosen, setChosen, reload }) {
  const picked = tasks.filter((task) => chosen.has(task.id));
  const here = useDenial("cancel", query.queue);
  const denied = picked.length > 0 ? firstDenial(picked) : here;
  const states = picked.length > 0 ? picked.map((task) => task.state) : query.state?.split(",");
  const act = async (action) => {
    const fitting = picked.filter((task) => ACTIONS[action].states.includes(task.state));
    const about = picked.length > 0 ? { ids: fitting.map((task) => task.id) } : { filter: filterOf(query) };
    if (await askBulk(action, about)) {
      setChosen(new Set());
      reload();
    }
  };
  return html`<div class="buttons">
    ${chosen.size > 0
      ? html`<span class="selected" role="status">${counted(chosen.size, "task")} selected</span>
          <${Button} onClick=${() => setChosen(new Set())}>Select none<//>`
      : html`<span class="selected quiet">All that match:</span>`}
    ${Object.entries(ACTIONS).map(([action, { verb, danger }]) => html`<${Button}
      key=${action}
      kind=${danger ? "warn" : ""}
      denied=${denied ?? uselessness(action, states)}
      onClick=${() => act(action)}
    >${verb}${chosen.size > 0 ? "" : " …"}<//>`)}
  </div>`;
}
