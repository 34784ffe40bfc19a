// Lines over time, drawn by uPlot; and the same for who cannot see them.
import uPlot from "../vendor/uplot.js";
import { theme } from "./theme.js";
import { useValue } from "./value.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./view.js";
import { timeOfDay } from "./words.js";

// A colour of the style sheet as a canvas takes it.
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const faded = (rgb, share) =>
  rgb.startsWith("rgb(") ? rgb.replace("rgb(", "rgba(").replace(")", `, ${share})`) : rgb;

// A series is { label, colour: name of a CSS variable, values, fill, dash }; `at` has the
// moments, seconds.  `format` makes text of a value; `durations` are
// drawn so that milliseconds can be seen beside minutes; of what is `whole`, no line
// stands for half a one.
export function Chart({ label, at, series, format, durations = false, whole = false, height = 190 }) {
  const frame = useRef(null);
  const plot = useRef(null);
  const [hovered, setHovered] = useState(null);
  const now = useValue(theme);
  const shape = series.map((one) => one.label).join();
  // At once: an effect that is run after the next paint may find the chart gone again.
  useLayoutEffect(() => {
    const node = frame.current;
    const width = () => Math.max(120, node.clientWidth);
    const drawn = { ...options(series, format, height, { durations, whole }, setHovered), width: width() };
    const made = new uPlot(drawn, [at, ...series.map((one) => one.values)], node);
    const watch = new ResizeObserver(() => made.setSize({ width: width(), height }));
    watch.observe(node);
    plot.current = made;
    return () => (watch.disconnect(), made.destroy());
  }, [shape, now, height]);
  useEffect(() => plot.current?.setData([at, ...series.map((one) => one.values)]), [at]);
  const place = hovered !== null && hovered < at.length ? hovered : at.length - 1;
  return html`<figure class="chart">
    <figcaption>
      <${Legend} ...${{ series, format, place }} />
      <span class="quiet chart-at">${hovered !== null && at.length > 0 && timeOfDay(at[place])}</span>
    </figcaption>
    <div class="plot" ref=${frame} role="img" aria-label=${`${label}. ${told(series, format)}`}></div>
    <${AsTable} ...${{ label, at, series, format }} />
  </figure>`;
}

function Legend({ series, format, place }) {
  return html`<ul class="legend">
    ${series.map(
      (one) => html`<li key=${one.label}>
        <span class=${`swatch swatch-${one.colour} ${one.dash ? "dashed" : ""}`}></span>${one.label}
        <b>${format(one.values[place])}</b>
      </li>`,
    )}
  </ul>`;
}

function told(series, format) {
  return series
    .map(({ label, values }) => {
      const known = values.filter((value) => value !== null && value !== undefined);
      if (known.length === 0) return `${label}: nothing.`;
      return `${label}: now ${format(known.at(-1))}, at most ${format(Math.max(...known))}.`;
    })
    .join(" ");
}

const TABLE_ROWS = 30;

function AsTable({ label, at, series, format }) {
  const [open, setOpen] = useState(false);
  const every = Math.max(1, Math.ceil(at.length / TABLE_ROWS));
  const places = at.map((_, place) => place).filter((place) => (at.length - 1 - place) % every === 0);
  return html`<details class="as-table" onToggle=${(event) => setOpen(event.target.open)}>
    <summary>As a table</summary>
    ${open &&
    html`<div class="table-frame" role="region" aria-label=${label} tabindex="0"><table>
      <caption class="hidden">${label}</caption>
      <thead><tr><th scope="col">Time</th>
        ${series.map((one) => html`<th scope="col" class="right">${one.label}</th>`)}</tr></thead>
      <tbody>${places.reverse().map(
        (place) => html`<tr key=${at[place]}><td>${timeOfDay(at[place])}</td>
          ${series.map((one) => html`<td class="right">${format(one.values[place])}</td>`)}</tr>`,
      )}</tbody>
    </table></div>`}
  </details>`;
}

// A few samples do not fill the whole width: they would look like much more.
const LEAST_SPAN_S = 300;

function options(series, format, height, { durations, whole }, setHovered) {
  const axis = { stroke: colour("text-quiet"), grid: { stroke: colour("line-soft"), width: 1 }, ticks: { show: false } };
  const font = '12px system-ui, sans-serif';
  return {
    height,
    legend: { show: false },
    padding: [8, 24, 0, 0], // the last moment has room for its words
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    hooks: { setCursor: [(plot) => setHovered(plot.cursor.idx ?? null)] },
    scales: {
      x: { range: (_plot, low, high) => [Math.min(low, high - LEAST_SPAN_S), high] },
      y: durations
        ? { distr: 3, range: (_plot, low, high) => around(low, high) }
        : { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] },
    },
    axes: [
      { ...axis, font, grid: { show: false }, size: 28, space: 70, values: timesOfTicks },
      {
        ...axis, font, size: 52, space: 34,
        ...(durations && { splits: (_plot, _axis, low, high) => between(low, high), filter: (_plot, ticks) => ticks }),
        ...(whole && { incrs: WHOLE }),
        values: (_plot, ticks) => ticks.map(format),
      },
    ],
    series: [{}, ...series.map(line)],
  };
}

// How far apart the lines of a whole number may be.
const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((n) => n * 10 ** power)).flat();

// What an axis of durations is divided by, seconds: each line stands for about ten times
// the one below.
const DURATIONS = [1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 864_000, 8_640_000];

// The durations around what there is.
function around(low, high) {
  if (!(low > 0)) return [0.01, 1];
  const from = DURATIONS.findLast((step) => step <= low) ?? DURATIONS[0];
  const to = DURATIONS.find((step) => step >= high && step > from) ?? DURATIONS.at(-1);
  return [from, to];
}

function between(low, high) {
  return DURATIONS.filter((step) => step >= low * 0.99 && step <= high * 1.01);
}

const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

function timesOfTicks(_plot, ticks) {
  const words = ticks.length > 1 && ticks[1] - ticks[0] < 60 ? seconds : minutes;
  return ticks.map((at) => words.format(at * 1000));
}

function line({ colour: name, fill, dash }) {
  const stroke = colour(name);
  return {
    stroke,
    width: 1.75,
    dash: dash ? [5, 4] : undefined,
    fill: fill ? faded(stroke, 0.12) : undefined,
    points: { show: false },
    spanGaps: true,
  };
}

// A line as large as a word, for what has been going on lately.
export function Sparkline({ values, label }) {
  const most = Math.max(...values, 0.001);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, i) => `${(i * step).toFixed(1)},${(22 - (20 * value) / most).toFixed(1)}`);
  return html`<svg class="sparkline" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label=${label}>
    <polyline points=${points.join(" ")} />
  </svg>`;
}
