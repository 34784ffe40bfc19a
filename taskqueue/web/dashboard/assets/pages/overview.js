// The overview: whether all is well, what is waiting, and how fast it goes.
import { Chart } from "../kit/chart.js";
import { useHistory } from "../kit/history.js";
import { Icon } from "../kit/icons.js";
import { useResource, useThrottle } from "../kit/live.js";
import { Ago, Badge, Empty, Figure, Loading, Meter, Notice, Panel, QueueLink } from "../kit/parts.js";
import { State, TaskLink, Trouble, WorkerLink } from "../kit/parts.js";
import { go, useQuery } from "../kit/router.js";
import { session } from "../kit/session.js";
import { isUntouched, stats } from "../kit/stats.js";
import { useValue } from "../kit/value.js";
import { html, useEffect, useMemo, useState } from "../kit/view.js";
import { count, counted, decimal, duration, firstLine, roughly } from "../kit/words.js";
import { PartOverview } from "./part_overview.js";

const SPANS = { "15m": [900, "15 min"], "1h": [3600, "1 hour"], "6h": [21600, "6 hours"], "24h": [86400, "24 hours"] };

const FAILURES = 6;

export function Overview() {
  const { data, problem } = useValue(stats);
  const [query] = useQuery();
  const first = data && isUntouched(data) && query.stay === undefined;
  useEffect(() => {
    if (first) go("/welcome", { replace: true });
  }, [first]);
  if (!data || first) return html`<h1 tabindex="-1">Overview</h1><${Without} problem=${problem} />`;
  return html`
    <div class="title-row">
      <h1 tabindex="-1">Overview</h1>
      <${Health} data=${data} />
    </div>
    <${Warnings} data=${data} />
    <${Figures} data=${data} />
    <${Graphs} tiers=${data.tiers} />
    <div class="pair">
      <${Failures} totals=${data.totals} dead=${data.states.dead_letter} />
      <${Workers} number=${data.workers} />
    </div>
  `;
}

// Numbers of the whole broker are for those who may read every queue; others see their part.
function Without({ problem }) {
  if (!problem) return html`<${Loading} />`;
  if (problem.status !== 403) return html`<${Trouble} problem=${problem} />`;
  return html`<${PartOverview} below=${({ totals, dead }) => html`<div class="pair">
    <${Failures} totals=${totals} dead=${dead} />
    <${Workers} number=${0} />
  </div>`} />`;
}

function Health({ data }) {
  return html`<p class="health">
    ${data.healthy ? html`<${Badge} kind="good"><${Icon} name="check" />healthy<//>` : html`<${Badge} kind="bad">degraded<//>`}
    <span class="quiet">up ${duration(Math.floor(data.uptime_s))} · durability ${data.durability}</span>
  </p>`;
}

// --- what somebody should look at ------------------------------------------------------

function Warnings({ data }) {
  const who = useValue(session);
  const reason = useReason(data.healthy);
  const lines = data.unserved.slice(0, 5);
  const idle = data.workers === 0 && data.depth > 0 && data.waiting_claims === 0;
  return html`
    ${who.warning && html`<${Notice} kind="warn">${withCode(who.warning)}<//>`}
    ${reason && html`<${Notice} kind="bad"><strong>Degraded:</strong> ${reason}<//>`}
    ${idle && html`<${Notice} kind="warn">
      ${counted(data.depth, "task")} ${data.depth === 1 ? "waits" : "wait"}, and there is no worker.
    <//>`}
    ${!idle && lines.length > 0 && html`<${Notice} kind="warn">
      No worker runs ${lines.map(
        ({ queue, type, ready }, place) => html`${place > 0 && ", "}<a
            href=${`/tasks?state=pending&queue=${encodeURIComponent(queue)}&type=${encodeURIComponent(type)}`}
          ><strong>${type}</strong></a> of <${QueueLink} name=${queue} /> (${counted(ready, "ready task")})`,
      )}${data.unserved.length > lines.length && ` and ${data.unserved.length - lines.length} more`}.
    <//>`}
  `;
}

// A text with commands between backticks.
function withCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? html`<code>${part}</code>` : part));
}

// Why the broker is degraded; asked for when it says that it is.
function useReason(healthy) {
  const [reason, setReason] = useState(null);
  useEffect(() => {
    if (healthy) return setReason(null);
    const answer = fetch("/health").then((response) => response.json());
    answer.then((view) => setReason(view.reason ?? null), () => setReason("its log says why"));
    return undefined;
  }, [healthy]);
  return reason;
}

// --- numbers ---------------------------------------------------------------------------

function Figures({ data }) {
  const { rates, last_hour: hour, states } = data;
  const waiting = states.scheduled + states.blocked + states.failed;
  const failing = rates.dead > 0 ? "bad" : rates.failed > 0 ? "warn" : "";
  return html`<div class="figures">
    <${Figure} title="Waiting" value=${count(data.depth)} href="/tasks?state=pending,scheduled,blocked,failed&order=oldest"
      note=${waiting ? `${count(states.pending)} ready, ${count(waiting)} later` : "all ready"} />
    <${Figure} title="In progress" value=${count(data.in_progress)} href="/tasks?state=in_progress"
      note=${`on ${counted(data.workers, "worker")}`} />
    <${Figure} title="Completed" value=${`${decimal(rates.completed * 60)}/min`} href="/tasks?state=completed"
      note=${`${count(hour.completed)} last hour`} />
    <${Figure} title="Failed tries" value=${`${decimal(rates.failed * 60)}/min`} kind=${failing} href="/tasks?state=failed,dead_letter"
      note=${`${count(hour.failed)} last hour`} />
    <${Figure} title="Dead letters" value=${count(states.dead_letter)} kind=${states.dead_letter ? "bad" : ""} href="/dead-letters"
      note=${hour.dead ? `${count(hour.dead)} last hour` : "none last hour"} />
    <${Forecast} backlog=${data.backlog} />
  </div>`;
}

// Where the backlog goes, if it goes on as in the last minutes.
function Forecast({ backlog }) {
  const { depth, arriving_per_s: arriving, leaving_per_s: leaving, empty_in_s: empty } = backlog;
  const growth = arriving - leaving;
  const steady = Math.abs(growth) < Math.max(0.02, arriving * 0.02);
  const [title, value] = depth === 0 ? ["Backlog", "empty"]
    : empty !== null && !steady ? ["Backlog empty in about", roughly(empty)]
      : growth > 0 && !steady ? ["Backlog grows by", `${decimal(growth)}/s`] : ["Backlog", "steady"];
  return html`<${Figure} title=${title} value=${value} kind=${growth > 0 && !steady && depth > 0 ? "warn" : ""}
    note=${`in ${decimal(arriving)}/s, out ${decimal(leaving)}/s`} />`;
}

// --- over time -------------------------------------------------------------------------

function Graphs({ tiers }) {
  const [query, change] = useQuery();
  const span = query.span in SPANS ? query.span : "1h";
  const samples = useHistory(SPANS[span][0]);
  const choose = html`<div class="segments" role="group" aria-label="Time span">
    ${Object.entries(SPANS).map(([key, [, label]]) => html`<button
      key=${key} type="button" aria-pressed=${key === span}
      onClick=${() => change({ span: key === "1h" ? "" : key }, { replace: true })}
    >${label}</button>`)}
  </div>`;
  const at = useMemo(() => samples?.map((sample) => sample.at) ?? [], [samples]);
  const few = samples !== undefined && samples.length < 2;
  const draw = (chart) => (few ? html`<${Empty} title="The first samples come within half a minute." />` : chart);
  const ready = samples !== undefined;
  return html`
    <${Panel} title="Tasks per minute" aside=${choose} className="wide">
      ${ready ? draw(html`<${Rates} ...${{ at, samples }} />`) : html`<${Loading} />`}
    <//>
    <div class="pair">
      <${Panel} title="Waiting by tier" >
        ${ready ? draw(html`<${Depth} ...${{ at, samples }} />`) : html`<${Loading} />`}
        <${TierTable} tiers=${tiers} />
      <//>
      <${Panel} title="How long tasks wait and run">
        ${ready ? draw(html`<${Times} ...${{ at, samples }} />`) : html`<${Loading} />`}
        <${Percentiles} />
      <//>
    </div>`;
}

const perMinute = (value) => (value === null || value === undefined ? "–" : decimal(value));

function Rates({ at, samples }) {
  const rate = (name) => samples.map((sample) => sample.rates[name] * 60);
  return html`<${Chart} label="Tasks per minute" at=${at} format=${perMinute} height=${210} series=${[
    { label: "submitted", colour: "series-1", values: rate("submitted") },
    { label: "completed", colour: "series-2", values: rate("completed"), fill: true },
    { label: "failed", colour: "series-3", values: rate("failed") },
  ]} />`;
}

function Depth({ at, samples }) {
  const tier = (name) => samples.map((sample) => sample.tiers[name]);
  return html`<${Chart} label="Waiting tasks by tier of priority" at=${at} format=${count} whole series=${[
    { label: "high", colour: "series-3", values: tier("high") },
    { label: "normal", colour: "series-1", values: tier("normal"), fill: true },
    { label: "low", colour: "series-4", values: tier("low") },
  ]} />`;
}

function Times({ at, samples }) {
  const part = (what, name) => samples.map((sample) => sample[what]?.[name] ?? null);
  return html`<${Chart} label="Wait and run times" at=${at} format=${duration} durations series=${[
    { label: "wait p50", colour: "series-1", values: part("wait_s", "p50") },
    { label: "wait p99", colour: "series-1", values: part("wait_s", "p99"), dash: true },
    { label: "run p50", colour: "series-2", values: part("run_s", "p50") },
    { label: "run p99", colour: "series-2", values: part("run_s", "p99"), dash: true },
  ]} />`;
}

// Jobs of other protocols may have priorities below 0.
const TIERS = [["high", "200–255"], ["normal", "100–199"], ["low", "below 100"]];

function TierTable({ tiers }) {
  const all = Object.values(tiers).reduce((sum, n) => sum + n, 0);
  return html`<table class="small keep">
    <caption>Waiting now</caption>
    <thead><tr><td></td>${TIERS.map(([tier, range]) => html`<th scope="col" class="right">${tier} <small>${range}</small></th>`)}
      <th scope="col" class="right">all</th></tr></thead>
    <tbody><tr><th scope="row">tasks</th>
      ${TIERS.map(([tier]) => html`<td class="right">${count(tiers[tier])}</td>`)}<td class="right">${count(all)}</td></tr>
    <tr><th scope="row">share</th>
      ${TIERS.map(([tier]) => html`<td class="right">${all > 0 ? `${Math.round((100 * tiers[tier]) / all)} %` : "–"}</td>`)}<td></td></tr></tbody>
  </table>`;
}

function Percentiles() {
  const { data } = useValue(stats);
  const row = (title, spread) => html`<tr><th scope="row">${title}</th>
    ${["p50", "p90", "p99"].map((name) => html`<td class="right">${duration(spread[name])}</td>`)}
    <td class="right">${duration(spread.mean)}</td></tr>`;
  return html`<table class="small keep">
    <caption>Since the broker started</caption>
    <thead><tr><td></td><th scope="col" class="right">half</th><th scope="col" class="right">90 %</th>
      <th scope="col" class="right">99 %</th><th scope="col" class="right">mean</th></tr></thead>
    <tbody>${row("wait at most", data.wait_s)}${row("run at most", data.run_s)}</tbody>
  </table>`;
}

// --- what failed lately, and who works ---------------------------------------------------

// What failed since the broker started; where that is little, what is left from before too.
// Asked for anew when the counters say that there is something new.
function Failures({ totals, dead }) {
  const lately = useResource(`/stats/failures?limit=${FAILURES}`);
  const few = lately.data?.failures.length < FAILURES;
  const before = useResource(few ? "/tasks?state=failed,dead_letter&limit=30" : null);
  const soon = useThrottle(few ? () => (lately.reload(), before.reload()) : lately.reload, 10_000);
  const mark = `${totals.failed} ${totals.lost} ${totals.dead} ${totals.revived} ${dead}`;
  useEffect(() => soon(), [mark]);
  const data = few ? before.data : lately.data;
  const failures = [...(lately.data?.failures ?? []), ...leftOf(few ? before.data : null, lately.data)].slice(0, FAILURES);
  return html`<${Panel} title="Recent failures" aside=${html`<a href="/tasks?state=failed,dead_letter">All</a>`}>
    ${data === undefined ? html`<${Loading} />` : failures.length === 0
      ? html`<${Empty} title="Nothing has failed that is still of interest." />`
      : html`<ul class="rows">${failures.map((one) => html`<li key=${`${one.task} ${one.at}`}>
          <div class="row-head">${one.lost && one.state !== "dead_letter" ? html`<${Badge} kind="warn">lost<//>` : html`<${State} state=${one.state} />`}
            <strong>${one.type}</strong> <${TaskLink} id=${one.task} /><span class="spread"></span><${Ago} at=${one.at} /></div>
          <p class="error-line">${firstLine(one.error)}</p>
        </li>`)}</ul>`}
  <//>`;
}

function leftOf(page, lately) {
  const known = new Set(lately?.failures.map((one) => one.task));
  const others = (page?.tasks ?? []).filter((task) => !known.has(task.id));
  return others.map((task) => ({ ...task, task: task.id, at: endOf(task) })).sort((a, b) => b.at - a.at);
}

const endOf = (task) => task.ended_at ?? task.claimed_at ?? task.submitted_at;

function Workers({ number }) {
  const { data, reload } = useResource("/workers?limit=100", { every: 10_000 });
  useEffect(() => reload(), [number]);
  const workers = [...(data?.workers ?? [])].sort((a, b) => b.leases / b.capacity - a.leases / a.capacity);
  return html`<${Panel} title="Active workers" aside=${html`<a href="/workers">All ${number > 0 ? count(number) : ""}</a>`}>
    ${data === undefined ? html`<${Loading} />` : workers.length === 0
      ? html`<${Empty} title="No worker is registered."><a href="/welcome">How to start one</a><//>`
      : html`<ul class="rows">${workers.slice(0, FAILURES).map((worker) => html`<li key=${worker.id}>
          <div class="row-head"><strong><${WorkerLink} name=${worker.id} /></strong>
            <${Standing} worker=${worker} /><span class="spread"></span>
            <span class="quiet">${count(worker.leases)} of ${count(worker.capacity)} busy</span>
            <${Meter} used=${worker.leases} most=${worker.capacity} label=${`Slots of ${worker.id} in use`} /></div>
          <p class="quiet">${worker.queues.join(", ")} · ${count(worker.completed)} done${worker.failed > 0
            ? `, ${count(worker.failed)} failed` : ""} · last heard of <${Ago} at=${worker.beat_at} /></p>
        </li>`)}</ul>`}
  <//>`;
}

// A worker that is not as it should be, in a word.
export function Standing({ worker }) {
  if (worker.stalled) return html`<${Badge} kind="bad">stalled<//>`;
  if (!worker.connected) return html`<${Badge} kind="warn">disconnected<//>`;
  if (worker.order) return html`<${Badge} kind="warn">${worker.order}<//>`;
  return null;
}
