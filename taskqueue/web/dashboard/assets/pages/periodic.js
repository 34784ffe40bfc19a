// What is submitted again and again: when next, and how it went the last time.
import { at, get, post, remove } from "../kit/api.js";
import { confirm } from "../kit/dialog.js";
import { useEvents, useResource, useThrottle } from "../kit/live.js";
import { Ago, At, Badge, Button, Empty, Loading, Panel, QueueLink, State, TaskLink, Trouble } from "../kit/parts.js";
import { query as queryOf, useQuery } from "../kit/router.js";
import { scheduleInWords } from "../kit/schedule.js";
import { useDenial } from "../kit/session.js";
import { Pager, Table, useOrder } from "../kit/table.js";
import { say, sayProblem } from "../kit/toasts.js";
import { html, useEffect, useState } from "../kit/view.js";
import { bytes, count, counted, duration } from "../kit/words.js";
import { EditPeriodic, PeriodicForm } from "./periodic_form.js";

const MOST = 200;
const EVERY_MS = 10_000;
const OUTCOME_MS = 3000;
const ENDED = new Set(["completed", "dead_letter", "cancelled", "expired"]);

const HEARS = { kind: ["periodic"] };

export function Periodic() {
  const [query, change] = useQuery();
  const path = `/periodics${queryOf({ limit: MOST, after: query.after })}`;
  const { data, problem, reload } = useResource(path, { every: EVERY_MS });
  const soon = useThrottle(reload, 500);
  useEvents(HEARS, () => soon());
  const denied = useDenial("submit");
  if (!data) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Loading} />`;
  const made = (name) => (change({ new: "", name }), reload());
  const changed = (name) => (change({ edit: "", name }), reload());
  return html`
    <div class="title-row">
      <h1 tabindex="-1">Periodic tasks</h1>
      <div class="buttons"><${Button} kind="primary" denied=${denied} disabled=${query.new !== undefined}
        onClick=${() => change({ new: "1" })}>New<//></div>
    </div>
    <${Trouble} problem=${problem} />
    ${query.new !== undefined && html`<${PeriodicForm} made=${made} leave=${() => change({ new: "" })} />`}
    ${query.edit && html`<${EditPeriodic} key=${query.edit} name=${query.edit} made=${changed} leave=${() => change({ edit: "" })} />`}
    ${query.name && !query.edit && html`<${Details} key=${query.name} name=${query.name} change=${change} reload=${reload} />`}
    <${List} periodics=${data.periodics} reload=${reload} />
    ${data.periodics.length > 0 && html`<${Pager} next=${data.next} shown=${data.periodics.length} noun="periodic task" />`}
  `;
}

// --- the list ----------------------------------------------------------------------------

function columns(reload) {
  return [
    { key: "name", title: "Name", sort: (p) => p.name, cell: (p) => html`<${Name} periodic=${p} />` },
    { key: "type", title: "Task", sort: (p) => p.type, cell: (p) => html`${p.type}<br /><small>in <${QueueLink} name=${p.queue} /></small>` },
    { key: "next", title: "Next", sort: (p) => p.next_at ?? Infinity, cell: (p) => html`<${Next} periodic=${p} />` },
    { key: "last", title: "Last", sort: (p) => p.last_at, cell: (p) => html`<${Last} periodic=${p} />` },
    { key: "actions", title: html`<span class="hidden">Actions</span>`, label: "Actions", className: "nowrap", cell: (p) => html`<${Actions} periodic=${p} reload=${reload} />` },
  ];
}

function List({ periodics, reload }) {
  const [order, setOrder] = useOrder("name");
  return html`<${Table}
    caption="Periodic tasks"
    columns=${columns(reload)}
    rows=${periodics}
    keyOf=${(periodic) => periodic.name}
    order=${order}
    onOrder=${setOrder}
    empty=${html`<${Empty} title="Nothing is submitted again and again.">
      <p>Make one here, or declare it beside its task: <code>@app.periodic(cron="30 5 * * *")</code>.</p>
    <//>`}
  />`;
}

function Name({ periodic }) {
  const exact = periodic.cron ? `${periodic.cron}, ${periodic.tz}` : undefined;
  const href = `/periodic${queryOf({ name: periodic.name })}`;
  return html`<a href=${href}><strong>${periodic.name}</strong></a><br /><small class="quiet" title=${exact}>${scheduleInWords(periodic)}${
    periodic.tz && periodic.tz !== "UTC" && `, ${periodic.tz}`}</small>`;
}

function Next({ periodic }) {
  if (periodic.paused) return html`<${Badge} kind="warn" title="It does not fire until it is resumed">paused<//>`;
  if (periodic.next_at === null) return html`<span class="quiet">never</span>`;
  return html`<${Ago} at=${periodic.next_at} /><br /><small class="quiet"><${At} at=${periodic.next_at} /></small>`;
}

function Last({ periodic }) {
  if (periodic.last_at === null) return html`<span class="quiet">not yet</span>`;
  return html`<${Ago} at=${periodic.last_at} /><br />${periodic.last_task && html`<${Outcome} key=${periodic.last_task} id=${periodic.last_task} />`}`;
}

// How the task of a tick stands; asked for until it has ended.
function Outcome({ id }) {
  const [over, setOver] = useState(false);
  const { data, problem } = useResource(at("tasks", id), { every: over ? 0 : OUTCOME_MS });
  const ended = ENDED.has(data?.state) || problem !== null;
  useEffect(() => setOver(ended), [ended]);
  if (problem?.status === 404) return html`<small class="quiet" title="It was kept as long as the retention says">not kept any more</small>`;
  return data ? html`<${State} state=${data.state} /> <${TaskLink} id=${id} />` : html`<${TaskLink} id=${id} />`;
}

// --- doing something ------------------------------------------------------------------------

function Actions({ periodic, reload, edit = null }) {
  const { name, queue, paused } = periodic;
  const mayRest = useDenial("cancel", queue);
  const maySubmit = useDenial("submit", queue);
  const attempt = async (what, action) => {
    try {
      const done = await action();
      if (done) say(done);
    } catch (error) {
      sayProblem(error, what);
    }
    reload();
  };
  const trigger = () => attempt(`${name} was not run`, async () => {
    await post(at("periodics", name, "trigger"));
    return `A task of ${name} was submitted.`;
  });
  const rest = () => attempt(`${name} is as it was`, async () => {
    await post(at("periodics", name, paused ? "resume" : "pause"));
    return paused ? `${name} goes on.` : `${name} is paused.`;
  });
  const forget = () => attempt(`${name} was not deleted`, () => deleteAsked(name));
  return html`<div class="buttons">
    <${Button} kind="small" denied=${maySubmit} onClick=${trigger} title="Submit its task now, beside its ticks">Run now<//>
    <${Button} kind="small" denied=${mayRest} onClick=${rest}>${paused ? "Resume" : "Pause"}<//>
    ${edit && html`<${Button} kind="small" denied=${maySubmit} onClick=${edit}>Edit<//>`}
    ${edit && html`<${Button} kind="small" denied=${mayRest} onClick=${forget}>Delete<//>`}
  </div>`;
}

async function deleteAsked(name) {
  const { fired } = await get(at("periodics", name));
  const body = html`<p><strong>It is forgotten, and touches no task:</strong> the ${counted(fired, "task")} it has submitted
    ${fired === 1 ? "stays" : "stay"} as ${fired === 1 ? "it is" : "they are"}.</p>
    <p>A worker that declares it makes it anew when it starts.</p>`;
  if (!(await confirm({ title: `Delete ${name}?`, body, action: "Delete", danger: true }))) return null;
  await remove(at("periodics", name));
  return `${name} is deleted.`;
}

// --- one of them -----------------------------------------------------------------------------

const CATCH_UP = {
  skip: "missed ticks are skipped",
  once: "of missed ticks, one is made up for",
  all: "all missed ticks are made up for",
};

function Details({ name, change, reload }) {
  const { data, problem, reload: again } = useResource(at("periodics", name), { every: EVERY_MS });
  useEvents(HEARS, (_, event) => event.name === name && again());
  const gone = problem?.status === 404;
  const aside = html`<div class="buttons">
    ${data && !gone && html`<${Actions} periodic=${data} reload=${() => (again(), reload())} edit=${() => change({ edit: name })} />`}
    <button type="button" class="button small" onClick=${() => change({ name: "" })}>Close</button>
  </div>`;
  return html`<${Panel} title=${name} aside=${aside}>
    ${problem && html`<${Trouble} problem=${problem} />`}
    ${gone ? null : data ? html`<${Facts} periodic=${data} />` : problem ? null : html`<${Loading} />`}
  <//>`;
}

function Facts({ periodic }) {
  const { upcoming, tz, paused } = periodic;
  const retries = periodic.max_retries === undefined ? "as often as the queue says" : counted(periodic.max_retries, "retry", "retries");
  const expiry = periodic.expires_in_s === undefined ? "never expires" : `expires ${duration(periodic.expires_in_s)} after its tick`;
  return html`<dl class="about">
    <div><dt>Schedule</dt><dd>${scheduleInWords(periodic)}</dd>
      ${periodic.cron && html`<dd class="mono quiet">${periodic.cron}, ${tz}</dd>`}
      <dd class="quiet">fired ${counted(periodic.fired, "time")}${periodic.skipped > 0 && `, skipped ${count(periodic.skipped)}`}</dd></div>
    <div class="tall"><dt>Next runs${tz && tz !== "UTC" ? ", in your own time zone" : ""}</dt>
      ${paused ? html`<dd class="quiet">none: it is paused</dd>` : upcoming.length === 0 ? html`<dd class="quiet">none</dd>`
        : upcoming.map((moment) => html`<dd key=${moment}><${At} at=${moment} /> <small class="quiet nowrap"><${Ago} at=${moment} /></small></dd>`)}</div>
    <div><dt>Task</dt><dd><strong>${periodic.type}</strong> in <${QueueLink} name=${periodic.queue} /></dd>
      <dd class="quiet">priority ${periodic.priority}, payload of ${bytes(periodic.payload_bytes)}</dd>
      <dd><a href=${`/tasks${queryOf({ type: periodic.type, queue: periodic.queue })}`}>Its tasks</a></dd></div>
    <div><dt>After a pause of the broker</dt><dd>${CATCH_UP[periodic.catch_up]}${periodic.catch_up !== "skip" && `, of the last ${duration(periodic.catch_up_window_s)}`}</dd></div>
    <div><dt>While the task before has not ended</dt><dd>${periodic.overlap ? "it fires all the same" : "it is skipped"}</dd></div>
    <div><dt>Retries, and when it expires</dt><dd>${retries}; ${expiry}</dd></div>
  </dl>`;
}
