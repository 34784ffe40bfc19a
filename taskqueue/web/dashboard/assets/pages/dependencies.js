// What a task waits for, and what waits for it, as a graph.
import { get, at } from "../kit/api.js";
import { Loading, Panel } from "../kit/parts.js";
import { address } from "../kit/router.js";
import { html, useEffect, useState } from "../kit/view.js";
import { counted, spaced } from "../kit/words.js";

// How far it is followed, and how many tasks are asked for.
const STEPS = 2;
const MOST = 30;

const WIDTH = 168;
const HEIGHT = 44;
const GAP_X = 56;
const GAP_Y = 14;

export function Dependencies({ task, mark }) {
  const before = task.depends_on ?? [];
  const after = task.dependents ?? [];
  const [graph, setGraph] = useState(null);
  const key = `${task.id} ${task.state} ${before.length} ${after.join()} ${mark}`;
  useEffect(() => {
    if (before.length + after.length === 0) return undefined;
    const stop = new AbortController();
    explore(task, stop.signal).then((found) => stop.signal.aborted || setGraph(found), () => {});
    return () => stop.abort();
  }, [key]);
  if (before.length + after.length === 0) return null;
  const aside = html`<span class="quiet">waits for ${before.length}, ${counted(after.length, "task")}
    ${" "}${after.length === 1 ? "waits" : "wait"} for it</span>`;
  return html`<${Panel} title="Dependencies" aside=${aside}>
    ${graph ? html`<${Drawing} ...${graph} chosen=${task.id} />` : html`<${Loading} />`}
  <//>`;
}

// The tasks around one, and which waits for which.  Who waits is known of tasks that have
// not ended; of the others it is no longer of interest.
async function explore(task, signal) {
  const nodes = new Map([[task.id, { ...task, step: 0 }]]);
  const edges = new Map();
  let left = 0;
  let edge = [task];
  for (let n = 0; n < STEPS && edge.length > 0; n += 1) {
    const wanted = new Map();
    for (const one of edge) {
      const { step } = nodes.get(one.id);
      const want = (id, next) => nodes.has(id) || wanted.set(id, next);
      for (const id of one.depends_on ?? []) {
        edges.set(`${id} ${one.id}`, [id, one.id]);
        if (step <= 0) want(id, step - 1);
      }
      for (const id of one.dependents ?? []) {
        edges.set(`${one.id} ${id}`, [one.id, id]);
        if (step >= 0) want(id, step + 1);
      }
    }
    const room = Math.max(0, MOST - nodes.size);
    const ids = [...wanted.keys()].slice(0, room);
    left += wanted.size - ids.length;
    edge = (await Promise.all(ids.map((id) => look(id, signal)))).filter(Boolean);
    for (const id of ids) nodes.set(id, { id, ...edge.find((one) => one.id === id), step: wanted.get(id) });
  }
  const known = [...edges.values()].filter(([from, to]) => nodes.has(from) && nodes.has(to));
  return { nodes: [...nodes.values()], edges: known, left };
}

async function look(id, signal) {
  try {
    return await get(`${at("tasks", id)}?include=dependents`, { signal });
  } catch {
    return null; // it may be gone
  }
}

// A column for each step, and each task beside those that it has to do with.
function placed(nodes, edges) {
  const columns = new Map();
  for (const node of nodes) columns.set(node.step, [...(columns.get(node.step) ?? []), node]);
  const steps = [...columns.keys()].sort((a, b) => a - b);
  const most = Math.max(...[...columns.values()].map((column) => column.length));
  const places = new Map();
  for (const step of [...steps].sort((a, b) => Math.abs(a) - Math.abs(b))) {
    const column = columns.get(step);
    const middle = (node) => {
      const near = edges.flatMap(([a, b]) => (a === node.id ? [b] : b === node.id ? [a] : []));
      const known = near.map((id) => places.get(id)?.y).filter((y) => y !== undefined);
      return known.length ? known.reduce((sum, y) => sum + y, 0) / known.length : 0;
    };
    column.sort((a, b) => middle(a) - middle(b));
    const top = ((most - column.length) * (HEIGHT + GAP_Y)) / 2;
    column.forEach((node, place) => {
      places.set(node.id, { x: steps.indexOf(step) * (WIDTH + GAP_X), y: top + place * (HEIGHT + GAP_Y) });
    });
  }
  const width = steps.length * (WIDTH + GAP_X) - GAP_X;
  return { places, width, height: most * (HEIGHT + GAP_Y) - GAP_Y };
}

function Drawing({ nodes, edges, chosen, left }) {
  const { places, width, height } = placed(nodes, edges);
  return html`<div class="graph" role="region" aria-label="Dependencies" tabindex="0">
    <svg width=${width + 4} height=${height + 4} viewBox=${`-2 -2 ${width + 4} ${height + 4}`}>
      ${edges.map(([from, to]) => html`<path key=${`${from} ${to}`} class="graph-edge" d=${curve(places.get(from), places.get(to))} />`)}
      ${nodes.map((node) => html`<${Node} key=${node.id} ...${{ node, place: places.get(node.id), chosen: node.id === chosen }} />`)}
    </svg>
  </div>
  ${left > 0 && html`<p class="quiet">${counted(left, "further task")} ${left === 1 ? "is" : "are"} not shown.</p>`}`;
}

function curve(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const bend = GAP_X / 2;
  return `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 1} ${y2}`;
}

function Node({ node, place, chosen }) {
  const type = node.type ?? "no longer there";
  const name = type.length > 22 ? `${type.slice(0, 21)}…` : type;
  const state = node.state ?? "expired";
  return html`<a href=${address("tasks", node.id)} class=${`graph-node graph-${state} ${chosen ? "chosen" : ""}`}
      aria-current=${chosen ? "true" : null} aria-label=${`${type}, ${spaced(node.state ?? "gone")}`}>
    <rect x=${place.x} y=${place.y} width=${WIDTH} height=${HEIGHT} rx="7" />
    <text x=${place.x + 12} y=${place.y + 18}>${name}</text>
    <text x=${place.x + 12} y=${place.y + 34} class="graph-state">${spaced(node.state ?? "gone")} ${node.id.slice(-8)}</text>
    <title>${type} ${node.id}</title>
  </a>`;
}
