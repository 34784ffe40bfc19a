// The dead letters: what failed for good, grouped by what went wrong.
import { Filters } from "../kit/filters.js";
import { useEvents, useResource, useThrottle } from "../kit/live.js";
import { Ago, Empty, Figure, Loading, Notice, QueueLink, Trouble } from "../kit/parts.js";
import { query as queryOf, useQuery } from "../kit/router.js";
import { Table, useOrder } from "../kit/table.js";
import { html, useRef } from "../kit/view.js";
import { count, counted } from "../kit/words.js";
import { DeadLetterActions } from "./dead_letter_actions.js";
import { DeadLetterGroup } from "./dead_letter_group.js";

// Grouping reads every dead letter, which takes the broker 8 ms for a thousand: it is done
// anew when there are others, but not for more than 1 % of the time.
const AGAIN_MS = 4000;
const AGAIN_MS_EACH = 1;

const HEARS = { kind: ["stats"] };

// Calls `changed` when dead letters came or went; `number` of them were there before.
function useNewDeadLetters(changed, number) {
  const before = useRef(null);
  const soon = useThrottle(changed, Math.max(AGAIN_MS, AGAIN_MS_EACH * number));
  useEvents(HEARS, (name, event) => {
    const mark = name === "stats" ? `${event.states.dead_letter} ${event.totals.dead}` : "reset";
    // The first one may tell of what happened since the page asked.
    if (mark !== before.current) soon();
    before.current = mark;
  });
}

export function DeadLetters() {
  const [query] = useQuery();
  const { queue, type, group } = query;
  const found = useResource(`/dead-letters/groups${queryOf({ queue, type })}`);
  useNewDeadLetters(found.reload, found.data?.examined ?? 0);
  if (group !== undefined) return html`<${DeadLetterGroup} key=${group} name=${group} found=${found} />`;
  return html`<${Groups} found=${found} filter=${{ queue, type }} />`;
}

const FIELDS = [
  { name: "queue", label: "Queue", kind: "text", placeholder: "any" },
  { name: "type", label: "Type", kind: "text", placeholder: "any" },
];

function Groups({ found, filter }) {
  const { data, problem, reload } = found;
  const given = Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
  const limited = Object.keys(given).length > 0;
  const some = data && data.groups.length > 0;
  return html`
    <div class="title-row">
      <h1 tabindex="-1">Dead letters</h1>
      <${DeadLetterActions}
        selection=${some ? { filter: given } : null}
        what=${limited ? "all that match the filter" : "all dead letters"}
        queue=${filter.queue}
        after=${reload}
        names=${limited ? ["Retry matching", "Delete matching"] : ["Retry all", "Delete all"]}
      />
    </div>
    <${Trouble} problem=${problem} />
    ${data ? html`<${Totals} data=${data} />` : html`<${Loading} />`}
    ${(some || limited) && html`<${Filters} fields=${FIELDS} />`}
    ${data && html`<${List} groups=${data.groups} limited=${limited} reload=${reload} />`}
  `;
}

function Totals({ data }) {
  const { groups, examined, complete } = data;
  if (groups.length === 0) return null;
  const newest = groups.reduce((last, group) => Math.max(last, group.last_at), 0);
  const oldest = groups.reduce((first, group) => Math.min(first, group.first_at), Infinity);
  return html`<div class="figures">
      <${Figure} title="Dead letters" value=${`${count(examined)}${complete ? "" : "+"}`} kind="bad" note="wait for somebody to decide" />
      <${Figure} title="Kinds of errors" value=${count(groups.length)} note="alike but for numbers, ids and addresses" />
      <${Figure} title="Newest" value=${html`<${Ago} at=${newest} />`} />
      <${Figure} title="Oldest" value=${html`<${Ago} at=${oldest} />`} />
    </div>
    ${!complete && html`<${Notice} kind="info">There are more than these: the newest ${count(examined)} dead letters were looked at,
      and the largest groups are shown. What is done to a group is done to all of it.<//>`}`;
}

const named = (counts) => Object.entries(counts).sort((a, b) => b[1] - a[1]);

function Some({ counts, draw }) {
  const all = named(counts);
  return html`<span>${all.slice(0, 3).map(([name, number], place) => html`${place > 0 && ", "}${draw(name)}${
    all.length > 1 && html` <small class="quiet">${count(number)}</small>`}`)}${
    all.length > 3 && html` <small class="quiet">and ${all.length - 3} more</small>`}</span>`;
}

function columns(reload) {
  const opened = (group) => {
    const { queue, type } = Object.fromEntries(new URLSearchParams(location.search));
    return `/dead-letters${queryOf({ queue, type, group: group.error_group })}`;
  };
  // What is done to a row is done to what its number counts: within the filter.
  const selection = (group) => {
    const { queue, type } = Object.fromEntries(new URLSearchParams(location.search));
    return { filter: { error_group: group.error_group, ...(queue && { queue }), ...(type && { type }) } };
  };
  return [
    { key: "error", title: "Error", className: "wrap", sort: (g) => g.error_group, cell: (g) => html`<a class="group-name" href=${opened(g)}>${g.error_group}</a>` },
    { key: "count", title: "Tasks", align: "right", sort: (g) => g.count, cell: (g) => html`<strong>${count(g.count)}</strong>` },
    { key: "types", title: "Types", className: "wrap", cell: (g) => html`<${Some} counts=${g.types} draw=${(name) => name} />` },
    { key: "queues", title: "Queues", className: "wrap", cell: (g) => html`<${Some} counts=${g.queues} draw=${(name) => html`<${QueueLink} name=${name} />`} />` },
    { key: "first", title: "First", sort: (g) => g.first_at, className: "nowrap", cell: (g) => html`<${Ago} at=${g.first_at} />` },
    { key: "last", title: "Last", sort: (g) => g.last_at, className: "nowrap", cell: (g) => html`<${Ago} at=${g.last_at} />` },
    {
      key: "actions",
      title: html`<span class="hidden">Actions</span>`,
      label: "Actions",
      className: "nowrap",
      cell: (g) => html`<${DeadLetterActions}
        small
        selection=${selection(g)}
        what=${`${counted(g.count, "task")} of this group`}
        queue=${Object.keys(g.queues).length === 1 ? Object.keys(g.queues)[0] : undefined}
        after=${reload}
      />`,
    },
  ];
}

function List({ groups, limited, reload }) {
  const [order, setOrder] = useOrder("-count");
  const empty = limited
    ? html`<${Empty} title="No dead letter is like that." />`
    : html`<${Empty} title="There are no dead letters.">
        <p>A task comes here when it has failed as often as it may, or when its handler says that no retry can help.</p>
      <//>`;
  return html`<${Table}
    caption="Dead letters by error"
    columns=${columns(reload)}
    rows=${groups}
    keyOf=${(group) => group.error_group}
    order=${order}
    onOrder=${setOrder}
    empty=${empty}
  />`;
}
