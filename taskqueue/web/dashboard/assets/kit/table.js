// Tables: rows that can be sorted, selected, and paged through by key.
import { Icon } from "./icons.js";
import { useQuery } from "./router.js";
import { html, useEffect, useRef } from "./view.js";
import { counted } from "./words.js";

// A column is { key, title, cell(row), align: "right", sort(row), className, label }.
// With `sort` on a column the table can be sorted by it here; `order` is { by, down }.
//
// `selection` is { chosen: Set of keys, change(set), may(row) }.
export function Table({ caption, columns, rows, keyOf, empty, selection, order, onOrder, busy }) {
  const sorted = order ? sortedBy(rows, columns, order) : rows;
  if (rows.length === 0) return empty ?? null;
  return html`<div class="table-frame" role="region" aria-label=${caption} tabindex="0">
    <table class=${busy ? "busy" : ""}>
      <caption class="hidden">${caption}</caption>
      <thead><tr>
        ${selection && html`<th class="choose"><${ChooseAll} ...${{ rows, keyOf, selection }} /></th>`}
        ${columns.map((column) => html`<${Heading} key=${column.key} ...${{ column, order, onOrder }} />`)}
      </tr></thead>
      <tbody>
        ${sorted.map((row) => html`<${Row} key=${keyOf(row)} ...${{ row, columns, keyOf, selection }} />`)}
      </tbody>
    </table>
  </div>`;
}

function sortedBy(rows, columns, { by, down }) {
  const value = columns.find((column) => column.key === by)?.sort;
  if (!value) return rows;
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) =>
    typeof a === "string" ? collator.compare(a, b) : (a ?? -Infinity) - (b ?? -Infinity);
  return [...rows].sort((a, b) => (down ? -1 : 1) * compare(value(a), value(b)));
}

function Heading({ column, order, onOrder }) {
  const classes = [column.align === "right" && "right", column.className].filter(Boolean).join(" ");
  if (!column.sort || !onOrder) return html`<th scope="col" class=${classes}>${column.title}</th>`;
  const active = order?.by === column.key;
  const down = active && order.down;
  const first = column.align === "right"; // of numbers the largest are asked for first
  const turn = () => onOrder({ by: column.key, down: active ? !order.down : first });
  return html`<th
    scope="col"
    class=${classes}
    aria-sort=${active ? (down ? "descending" : "ascending") : null}
  >
    <button type="button" class="sort" onClick=${turn}>
      ${column.title}${active && html`<${Icon} name=${down ? "down" : "up"} />`}
    </button>
  </th>`;
}

function Row({ row, columns, keyOf, selection }) {
  const key = keyOf(row);
  const chosen = selection?.chosen.has(key);
  const turn = () => {
    const next = new Set(selection.chosen);
    if (!next.delete(key)) next.add(key);
    selection.change(next);
  };
  return html`<tr class=${chosen ? "chosen" : ""}>
    ${selection &&
    html`<td class="choose">
      <label><input
        type="checkbox"
        checked=${chosen}
        onChange=${turn}
        aria-label=${`Select ${selection.name?.(row) ?? key}`}
      /></label>
    </td>`}
    ${columns.map(
      (column) => html`<td
        key=${column.key}
        class=${[column.align === "right" && "right", column.className].filter(Boolean).join(" ")}
        data-title=${column.label ?? column.title}
      ><div class="cell">${column.cell(row)}</div></td>`,
    )}
  </tr>`;
}

function ChooseAll({ rows, keyOf, selection }) {
  const box = useRef(null);
  const here = rows.filter((row) => selection.chosen.has(keyOf(row))).length;
  const all = here === rows.length;
  useEffect(() => {
    box.current.indeterminate = here > 0 && !all;
  });
  const turn = () => selection.change(all ? new Set() : new Set(rows.map(keyOf)));
  return html`<label><input
    ref=${box}
    type="checkbox"
    checked=${all}
    onChange=${turn}
    aria-label=${`Select all ${counted(rows.length, "row")} of this page`}
  /></label>`;
}

// The order that the query asks for (?sort=name or ?sort=-name), and what changes it.
export function useOrder(first) {
  const [query, change] = useQuery();
  const text = query.sort ?? first;
  const order = { by: text.replace(/^-/, ""), down: text.startsWith("-") };
  const set = ({ by, down }) => change({ sort: `${down ? "-" : ""}${by}` }, { replace: true });
  return [order, set];
}

// Forward by key; back is the browser's own way, or the beginning.
export function Pager({ next, shown, noun = "row" }) {
  const [query, change] = useQuery();
  const later = query.after !== undefined;
  if (!later && next === null) return html`<p class="pager quiet">${counted(shown, noun)}</p>`;
  return html`<nav class="pager" aria-label="Pages">
    <span class="quiet">${counted(shown, noun)} on this page</span>
    <span class="spread"></span>
    ${later &&
    html`<button type="button" class="button small" onClick=${() => change({ after: "" })}>First page</button>
      <button type="button" class="button small" onClick=${() => history.back()}>Back</button>`}
    <button
      type="button"
      class="button small"
      disabled=${next === null}
      onClick=${() => change({ after: String(next) })}
    >Next page</button>
  </nav>`;
}
