// The broker itself: how it fares, what it holds, and what it runs with.
import { useResource } from "../kit/live.js";
import { Ago, Badge, Empty, Figure, Loading, Meter, Notice, Panel, Trouble } from "../kit/parts.js";
import { html, useEffect, useState } from "../kit/view.js";
import { bytes, count, decimal, duration, spaced } from "../kit/words.js";
import { Configuration } from "./configuration.js";

const EVERY_MS = 4000;

export function Broker() {
  const { data, problem } = useResource("/broker", { every: EVERY_MS });
  if (!data) return problem ? html`<${Trouble} problem=${problem} />` : html`<${Loading} />`;
  return html`
    <div class="title-row">
      <h1 tabindex="-1">Broker</h1>
      ${data.healthy ? html`<${Badge} kind="good">healthy<//>` : html`<${Badge} kind="bad">degraded<//>`}
    </div>
    <${Trouble} problem=${problem} />
    <${Health} broker=${data} />
    <${Figures} broker=${data} />
    <div class="pair">
      <${Store} store=${data.store} />
      <${Limits} limits=${data.limits} />
    </div>
    <div class="pair">
      <${Connections} broker=${data} />
      <${Refusals} refusals=${data.refusals} />
    </div>
    <div class="pair">
      <${Requests} requests=${data.requests} />
      <${Timers} timers=${data.timers} />
    </div>
    <${Configuration} config=${data.config} />
  `;
}

// What GET /health says: that has more reasons than the store.
function Health({ broker }) {
  const [reason, setReason] = useState(null);
  const failing = broker.timers.filter((timer) => timer.failing).length;
  useEffect(() => {
    const stop = new AbortController();
    const answer = fetch("/health", { signal: stop.signal }).then((response) => response.json());
    answer.then((view) => setReason(view.reason ?? null), () => {});
    return () => stop.abort();
  }, [broker.healthy, failing]);
  const told = broker.trouble ?? reason;
  return told && html`<${Notice} kind="bad"><strong>Degraded:</strong> ${told}.<//>`;
}

function Figures({ broker }) {
  const { store, limits } = broker;
  const requests = Object.values(broker.requests).reduce((sum, number) => sum + number, 0);
  return html`<div class="figures">
    <${Figure} title="Version" value=${broker.version} note=${`Python ${broker.python}, Twisted ${broker.twisted}`} />
    <${Figure} title="Up" value=${duration(Math.floor(broker.uptime_s))} note=${html`started <${Ago} at=${broker.started_at} />`} />
    <${Figure} title="Durability" value=${store.durability} note=${DURABILITY[store.durability]} kind=${store.durability === "none" ? "warn" : ""} />
    <${Figure} title="Store" value=${bytes(store.size_bytes)} note=${store.kind} />
    <${Figure} title="Connections" value=${count(limits.connections.used)} note=${`${count(broker.streams)} listening to events`} />
    <${Figure} title="Requests" value=${count(requests)} note="since it started" />
  </div>`;
}

const DURABILITY = {
  fsync: "accepted means: on the disk",
  interval: "synced several times a second",
  none: "a crash loses what was accepted",
};

// --- boxes ---------------------------------------------------------------------------------

function Rows({ caption, rows, empty }) {
  if (rows.length === 0) return html`<${Empty} title=${empty} />`;
  return html`<table class="small keep plain">
    <caption class="hidden">${caption}</caption>
    <tbody>${rows.map(([name, value]) => html`<tr key=${name}><th scope="row">${name}</th><td class="right">${value}</td></tr>`)}</tbody>
  </table>`;
}

function Store({ store }) {
  const { commit_s: took, commit_rows: rows } = store;
  return html`<${Panel} title="Store">
    <${Rows} caption="Store" rows=${[
      ["kind", store.kind],
      ["where", store.path === null ? "in memory" : html`<span class="mono">${store.path}</span>`],
      ["size", bytes(store.size_bytes)],
      ["commits", count(store.commits)],
    ]} />
    <table class="small keep">
      <caption>Each commit, since the broker started</caption>
      <thead><tr><td></td>${["half", "90 %", "99 %", "mean"].map((name) => html`<th scope="col" class="right">${name}</th>`)}</tr></thead>
      <tbody>
        <tr><th scope="row">time at most</th>${spread(took, duration)}</tr>
        <tr><th scope="row">rows at most</th>${spread(rows, decimal)}</tr>
      </tbody>
    </table>
  <//>`;
}

const spread = (found, words) =>
  ["p50", "p90", "p99", "mean"].map((part) => html`<td class="right">${words(found[part])}</td>`);

const LIMITS = {
  waiting_tasks: ["waiting tasks", count],
  held_bytes: ["payloads in memory", bytes],
  values: ["values", count],
  values_bytes: ["bytes of values", bytes],
  connections: ["connections", count],
  workers: ["workers", count],
};

function Limits({ limits }) {
  const rows = Object.entries(limits).map(([name, { used, most }]) => {
    const [title, words] = LIMITS[name] ?? [spaced(name), count];
    const share = most > 0 ? used / most : 1;
    return [title, html`<span class="load">${words(used)} of ${words(most)} <small class="quiet">${percent(share)}</small>
      <${Meter} used=${used} most=${most} label=${`${title} in use`} /></span>`];
  });
  return html`<${Panel} title="Limits, and how near they are"><${Rows} caption="Limits" rows=${rows} /><//>`;
}

const percent = (share) => (share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);

function Connections({ broker }) {
  const { open, accepted } = broker.connections;
  const rows = Object.keys(accepted).sort().map((kind) => [kind, html`${count(open[kind] ?? 0)} open
    ${" "}<small class="quiet">of ${count(accepted[kind])} since the start</small>`]);
  return html`<${Panel} title="Connections, by front-end"><${Rows} caption="Connections" rows=${rows} empty="Nobody has connected yet." /><//>`;
}

function Refusals({ refusals }) {
  const listed = (counts, what) => Object.entries(counts).map(([code, number]) => [
    html`<span class="mono">${code}</span> <small class="quiet">${what}</small>`, count(number)]);
  const rows = [...listed(refusals.connections, "connections"), ...listed(refusals.requests, "requests")];
  return html`<${Panel} title="What was refused"><${Rows} caption="Refusals by code" rows=${rows} empty="Nothing has been refused." /><//>`;
}

function Requests({ requests }) {
  const rows = Object.entries(requests).sort((a, b) => b[1] - a[1]).map(([name, number]) => [spaced(name), count(number)]);
  return html`<${Panel} title="Requests, by kind"><${Rows} caption="Requests" rows=${rows} empty="Nothing was asked yet." /><//>`;
}

function Timers({ timers }) {
  const rows = timers.map(({ name, failures, failing }) => [name, failing
    ? html`<${Badge} kind="bad" title="the log says why">failing<//>`
    : failures > 0 ? html`<${Badge} kind="warn" title="it failed, and then went well">${count(failures)} failures<//>`
    : html`<span class="quiet">well</span>`]);
  return html`<${Panel} title="Timers"><${Rows} caption="Timers" rows=${rows} empty="There are none." /><//>`;
}
