// The configuration in force, section by section.
import { Filters } from "../kit/filters.js";
import { Empty, Panel } from "../kit/parts.js";
import { useQuery } from "../kit/router.js";
import { html } from "../kit/view.js";
import { count, duration } from "../kit/words.js";

const FIELDS = [{ name: "setting", label: "Search the configuration", kind: "search", placeholder: "lease, http, 7780 …" }];

// As the file writes it.
function written(value) {
  if (value === null || value === undefined || value === "") return html`<span class="quiet">not set</span>`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.length ? value.join(", ") : html`<span class="quiet">none</span>`;
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

const BINARY = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];

// What a number means, where that is not plain to see; sizes as the file may write them.
function meaning(key, value) {
  if (typeof value !== "number") return null;
  if (key.endsWith("_s")) return value >= 120 ? duration(value) : null;
  const [size, unit] = BINARY.find(([least]) => value >= least && value % least === 0) ?? [];
  if (unit && /_bytes$|^memory_limit$/.test(key)) return `${value / size} ${unit}`;
  return value >= 10_000 ? count(value) : null;
}

const isSection = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// [["broker", [["name", …], …]], …]; what is set for one queue is a section of its own.
export function sectionsOf(config, path = "") {
  const plain = Object.entries(config).filter(([, value]) => !isSection(value));
  const within = Object.entries(config).filter(([, value]) => isSection(value));
  const deeper = within.flatMap(([name, value]) => sectionsOf(value, path ? `${path}.${name}` : name));
  return [...(plain.length ? [[path || "general", plain]] : []), ...deeper];
}

export function Configuration({ config }) {
  const [query] = useQuery();
  const wanted = (query.setting ?? "").toLowerCase();
  const fits = (section, [key, value]) => `${section}.${key} = ${JSON.stringify(value)}`.toLowerCase().includes(wanted);
  const shown = sectionsOf(config)
    .map(([section, entries]) => [section, entries.filter((entry) => fits(section, entry))])
    .filter(([, entries]) => entries.length > 0);
  return html`<${Panel} title="Configuration in force">
    <${Filters} fields=${FIELDS} />
    ${shown.length === 0 && html`<${Empty} title="No key and no value is like that." />`}
    <div class="sections">${shown.map(([section, entries]) => html`<section key=${section}>
      <h3 class="mono">[${section}]</h3>
      <dl>${entries.map(([key, value]) => html`<div key=${key}>
        <dt class="mono">${key}</dt>
        <dd class="mono">${written(value)}${meaning(key, value) && html` <small class="quiet">${meaning(key, value)}</small>`}</dd>
      </div>`)}</dl>
    </section>`)}</div>
  <//>`;
}
