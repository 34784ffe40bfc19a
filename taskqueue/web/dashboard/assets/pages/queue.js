// One queue: its numbers, its types, and what can be done with it.
import { at, patch, post } from "../kit/api.js";
import { ask } from "../kit/dialog.js";
import { useResource } from "../kit/live.js";
import { Ago, Button, Empty, Figure, Loading, Panel, State, TaskLink, Trouble } from "../kit/parts.js";
import { query as queryOf } from "../kit/router.js";
import { useDenial } from "../kit/session.js";
import { Table } from "../kit/table.js";
import { say, sayProblem } from "../kit/toasts.js";
import { html, useEffect, useState } from "../kit/view.js";
import { count, counted, decimal, duration, firstLine, roughly } from "../kit/words.js";
import { Standing, TierBar, useRates } from "./queue_parts.js";

const EVERY_MS = 2000;
const LIST_MS = 10_000;

export function Queue({ name }) {
  const path = at("queues", name);
  const { data: queue, problem, reload } = useResource(path, { every: EVERY_MS, keep: false });
  const rates = useRates(queue && [queue]).get(name);
  if (problem?.status === 404) {
    return html`<h1 tabindex="-1">No such queue</h1>
      <p>There is no queue <code>${name}</code>: it comes with the first task that is submitted to it.</p>
      <p><a href="/queues">All queues</a></p>`;
  }
  if (!queue) return problem ? html`<h1 tabindex="-1">${name}</h1><${Trouble} problem=${problem} />` : html`<${Loading} />`;
  return html`
    <p class="crumbs"><a href="/queues">Queues</a> / ${name}</p>
    <div class="title-row">
      <h1 tabindex="-1">${name}</h1>
      <${Standing} queue=${queue} />
      <${Actions} ...${{ queue, path, reload }} />
    </div>
    <${Figures} ...${{ queue, rates }} />
    <${Types} queue=${queue} />
    <${Newest} name=${name} />`;
}

function Figures({ queue, rates }) {
  const rate = (event) => (rates ? `${decimal(rates[event] * 60)}/min` : "…");
  const tasks = (state) => `/tasks${queryOf({ queue: queue.name, state })}`;
  const { states, totals } = queue;
  return html`<div class="figures">
    <${Figure} title="Waiting" value=${count(queue.depth)} href=${`${tasks("pending,scheduled,blocked,failed")}&order=oldest`}
      note=${html`${count(states.pending)} ready <${TierBar} tiers=${queue.tiers} />`} />
    <${Figure} title="Oldest ready" value=${queue.oldest_ready_s > 0 ? roughly(queue.oldest_ready_s) : "–"} />
    <${Figure} title="In progress" value=${count(states.in_progress)} href=${tasks("in_progress")} />
    <${Figure} title="Submitted" value=${rate("submitted")} note=${`${count(totals.submitted)} in all`} />
    <${Figure} title="Completed" value=${rate("completed")} href=${tasks("completed")} note=${`${count(totals.completed)} in all`} />
    <${Figure} title="Failed tries" value=${rate("failed")} kind=${rates?.failed > 0 ? "warn" : ""} href=${tasks("failed,dead_letter")}
      note=${`${count(totals.failed)} in all`} />
    <${Figure} title="Dead letters" value=${count(states.dead_letter)} kind=${states.dead_letter > 0 ? "bad" : ""} href=${tasks("dead_letter")} />
  </div>`;
}

const spread = (values) => (values.count === 0 ? html`<span class="quiet">–</span>`
  : html`<span title=${`half: ${duration(values.p50)}, 90 %: ${duration(values.p90)}, 99 %: ${duration(values.p99)}`}>
      ${duration(values.p50)} <span class="quiet">/ ${duration(values.p99)}</span></span>`);

const TYPES = [
  { key: "name", title: "Type", sort: (type) => type.name, cell: (type) => html`<strong>${type.name}</strong>` },
  { key: "ready", title: "Ready", align: "right", sort: (type) => type.ready, cell: (type) => count(type.ready) },
  { key: "in_progress", title: "In progress", align: "right", sort: (type) => type.states.in_progress, cell: (type) => count(type.states.in_progress) },
  { key: "completed", title: "Completed", align: "right", sort: (type) => type.totals.completed, cell: (type) => count(type.totals.completed) },
  { key: "failed", title: "Failed", align: "right", sort: (type) => type.totals.failed, cell: (type) => count(type.totals.failed) },
  { key: "dead", title: "Dead letters", align: "right", sort: (type) => type.states.dead_letter, cell: (type) => count(type.states.dead_letter) },
  { key: "wait", title: "Wait, half / 99 %", align: "right", sort: (type) => type.wait_s.p99, cell: (type) => spread(type.wait_s) },
  { key: "run", title: "Run, half / 99 %", align: "right", sort: (type) => type.run_s.p99, cell: (type) => spread(type.run_s) },
];

function Types({ queue }) {
  const [order, setOrder] = useState({ by: "ready", down: true });
  return html`<${Panel} title="Types" aside=${html`<span class="quiet">since the broker started</span>`}>
    <${Table} caption="Types of tasks in this queue" columns=${TYPES} rows=${queue.types} keyOf=${(type) => type.name}
      order=${order} onOrder=${setOrder} empty=${html`<${Empty} title="No task has been here since the broker started." />`} />
  <//>`;
}

const TASKS = [
  { key: "state", title: "State", cell: (task) => html`<${State} state=${task.state} />` },
  { key: "type", title: "Type", cell: (task) => task.type },
  { key: "id", title: "Task", cell: (task) => html`<${TaskLink} id=${task.id} />` },
  { key: "submitted", title: "Submitted", cell: (task) => html`<${Ago} at=${task.submitted_at} />` },
  { key: "error", title: "Newest error", className: "error-line", cell: (task) => firstLine(task.error) },
];

function Newest({ name }) {
  const { data } = useResource(`/tasks${queryOf({ queue: name, limit: 10 })}`, { every: LIST_MS });
  return html`<${Panel} title="Newest tasks" aside=${html`<a href=${`/tasks${queryOf({ queue: name })}`}>All</a>`}>
    ${data ? html`<${Table} caption="Newest tasks" columns=${TASKS} rows=${data.tasks} keyOf=${(task) => task.id}
      empty=${html`<${Empty} title="There is no task." />`} />` : html`<${Loading} />`}
  <//>`;
}

// --- what can be done -------------------------------------------------------------------

function Actions({ queue, path, reload }) {
  const denied = useDenial("cancel", queue.name);
  const act = async (what, done, request) => {
    try {
      const said = await request();
      say(typeof said === "string" ? said : done);
      reload();
    } catch (error) {
      sayProblem(error, `The queue was not ${what}`);
    }
  };
  const pause = async () => {
    const choice = await ask(PAUSE);
    if (choice === null) return;
    const body = typeof choice === "object" ? choice : {};
    await act("paused", `${queue.name} is paused: no task of it is given out.`, () => post(`${path}/pause`, body));
  };
  const resume = () => act("resumed", `${queue.name} goes on.`, () => post(`${path}/resume`));
  const bound = async () => {
    const choice = await ask(bounding(queue));
    if (choice === null || choice === true) return;
    await act("bounded", `${queue.name} has another bound.`, () => patch(path, choice));
  };
  const drain = async () => {
    if ((await ask(draining(queue))) === null) return;
    await act("drained", `${queue.name} takes no new tasks.`, () => post(`${path}/drain`));
  };
  const fill = () => act("opened", `${queue.name} takes tasks again.`, () => patch(path, { max_depth: null }));
  const purge = async () => {
    if ((await ask(purging(path))) === null) return;
    await act("purged", "", async () => {
      const { cancelled, left } = await post(`${path}/purge`);
      return `${counted(cancelled, "task")} ${cancelled === 1 ? "was" : "were"} cancelled.${left ? ` ${count(left)} are left: purge again.` : ""}`;
    });
  };
  const dead = queue.states.dead_letter;
  const retry = async () => {
    if ((await ask(retrying(dead))) === null) return;
    await act("changed", "", async () => {
      const { retried, left } = await post(`${path}/retry`);
      return `${counted(retried, "dead letter")} ${retried === 1 ? "runs" : "run"} again.${left ? ` ${count(left)} are left.` : ""}`;
    });
  };
  return html`<div class="buttons">
    ${queue.paused
      ? html`<${Button} icon="play" kind="primary" denied=${denied} onClick=${resume}>Resume<//>`
      : html`<${Button} icon="pause" denied=${denied} onClick=${pause}>Pause …<//>`}
    <${Button} denied=${denied} onClick=${bound}>Bound …<//>
    ${queue.draining
      ? html`<${Button} denied=${denied} onClick=${fill}>End draining<//>`
      : html`<${Button} denied=${denied} onClick=${drain}>Drain …<//>`}
    ${dead > 0 && html`<${Button} denied=${denied} onClick=${retry}>Retry dead letters …<//>`}
    <${Button} kind="warn" denied=${denied} onClick=${purge}>Purge …<//>
  </div>`;
}

const TIMES = [["", "until somebody resumes it"], [60, "for 1 minute"], [600, "for 10 minutes"], [3600, "for 1 hour"], [86400, "for 1 day"]];

const PAUSE = {
  title: "Pause this queue?",
  action: "Pause",
  body: ({ choose }) => html`<p>It takes tasks, and gives none out. What is in progress goes on.</p>
    <label class="check">Paused
      <select onChange=${(event) => choose(event.target.value ? { for_s: Number(event.target.value) } : true)}>
        ${TIMES.map(([value, label]) => html`<option value=${value}>${label}</option>`)}
      </select></label>`,
};

function bounding(queue) {
  const changed = (event, choose, setBlocked) => {
    const number = event.target.valueAsNumber;
    const empty = event.target.value === "";
    setBlocked(!empty && !(Number.isInteger(number) && number >= 0));
    choose({ max_depth: empty ? null : number });
  };
  return {
    title: "Bound this queue",
    action: "Set the bound",
    body: ({ choose, setBlocked }) => html`<p>With so many waiting tasks it is full: more are refused, and producers are told when to try again.</p>
      <label class="check">At most
        <input type="number" min="0" max="1000000000" value=${queue.max_depth ?? ""} placeholder="as configured"
          onInput=${(event) => changed(event, choose, setBlocked)} /> waiting tasks</label>
      <p class="quiet">Empty: as the configuration has it.</p>`,
  };
}

function draining(queue) {
  return {
    title: "Drain this queue?",
    action: "Drain",
    body: html`<p>New tasks are refused until draining is ended. The ${counted(queue.depth, "task")} that ${queue.depth === 1 ? "waits is" : "wait are"} worked off.</p>`,
  };
}

function retrying(dead) {
  return {
    title: "Retry the dead letters of this queue?",
    action: "Retry",
    body: html`<p>${counted(dead, "dead letter")} of it ${dead === 1 ? "runs" : "run"} again, with fresh retries, those first that have been dead letters for longest.</p>`,
  };
}

// The number is asked for when the question is put.
function purging(path) {
  return {
    title: "Purge this queue?",
    action: "Purge",
    danger: true,
    body: ({ setBlocked, setLabel }) => html`<${Purge} ...${{ path, setBlocked, setLabel }} />`,
  };
}

function Purge({ path, setBlocked, setLabel }) {
  const [number, setNumber] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    setBlocked(true);
    post(`${path}/purge`, { dry_run: true }).then(({ would_cancel: waiting }) => {
      setNumber(waiting);
      setBlocked(waiting === 0);
      setLabel(`Cancel ${counted(waiting, "task")}`);
    }, setProblem);
  }, []);
  if (problem) return html`<p class="trouble">${problem.message}</p>`;
  if (number === null) return html`<p class="loading" role="status">Counting …</p>`;
  return html`<p>${number === 0 ? "Nothing waits here." : html`<strong>${counted(number, "waiting task")}</strong>
    ${" "}${number === 1 ? "is" : "are"} cancelled, whatever ${number === 1 ? "its" : "their"} type. What is in progress goes on.`}</p>`;
}
