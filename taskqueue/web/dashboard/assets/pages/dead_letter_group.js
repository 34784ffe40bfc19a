// The dead letters of one group: what went wrong, and each task.
import { at } from "../kit/api.js";
import { useResource } from "../kit/live.js";
import { Ago, Empty, Loading, Panel, QueueLink, TaskLink, Trouble } from "../kit/parts.js";
import { query as queryOf, useQuery } from "../kit/router.js";
import { Pager, Table } from "../kit/table.js";
import { html, useEffect, useState } from "../kit/view.js";
import { counted, firstLine } from "../kit/words.js";
import { DeadLetterActions } from "./dead_letter_actions.js";

const PAGE = 50;

const COLUMNS = [
  { key: "id", title: "Task", cell: (task) => html`<${TaskLink} id=${task.id} />` },
  { key: "type", title: "Type", cell: (task) => html`<strong>${task.type}</strong>` },
  { key: "queue", title: "Queue", cell: (task) => html`<${QueueLink} name=${task.queue} />` },
  { key: "attempt", title: "Tries", align: "right", cell: (task) => task.attempt },
  { key: "ended", title: "Died", className: "nowrap", cell: (task) => html`<${Ago} at=${task.ended_at} />` },
  { key: "error", title: "Error", className: "error-line", cell: (task) => firstLine(task.error) },
];

export function DeadLetterGroup({ name, found }) {
  const [{ queue, type, after }] = useQuery();
  const group = found.data?.groups.find((one) => one.error_group === name);
  const page = useResource(`/dead-letters${queryOf({ error_group: name, queue, type, after, limit: PAGE })}`);
  const [chosen, change] = useState(new Set());
  // When the groups were counted anew, this one may have others.
  useEffect(() => page.reload(), [group?.count, group?.last_at]);
  const renew = () => (change(new Set()), page.reload(), found.reload());
  return html`
    <p class="crumbs"><a href=${`/dead-letters${queryOf({ queue, type })}`}>Dead letters</a> / one group</p>
    <div class="title-row">
      <h1 tabindex="-1" class="group-title">${name}</h1>
      <${Actions} ...${{ name, queue, type, chosen, renew, group }} />
    </div>
    <${Trouble} problem=${page.problem} />
    ${group && html`<p class="quiet">${counted(group.count, "task")}; the first died <${Ago} at=${group.first_at} />,
      the last <${Ago} at=${group.last_at} />.</p>`}
    ${group && html`<${Newest} id=${group.sample} />`}
    ${page.data === undefined ? html`<${Loading} />` : html`<${List} page=${page.data} selection=${{ chosen, change }} />`}
  `;
}

// Those that are selected, or all of the group.
function Actions({ name, queue, type, chosen, renew, group }) {
  const filter = { error_group: name, ...(queue && { queue }), ...(type && { type }) };
  const some = chosen.size > 0;
  const queues = Object.keys(group?.queues ?? {});
  return html`<${DeadLetterActions}
    selection=${some ? { ids: [...chosen] } : group ? { filter } : null}
    what=${some ? counted(chosen.size, "selected task") : "all tasks of this group"}
    queue=${queues.length === 1 ? queues[0] : undefined}
    after=${renew}
    names=${some ? ["Retry selected", "Delete selected"] : ["Retry all of it", "Delete all of it"]}
  />`;
}

// The whole error of the newest, for what the first line does not say.
function Newest({ id }) {
  const { data: task } = useResource(at("tasks", id));
  return html`<${Panel} title="The newest error" aside=${html`<${TaskLink} id=${id} />`}>
    ${task ? html`<pre class="code" tabindex="0">${task.error ?? "It left no error."}</pre>` : html`<${Loading} />`}
  <//>`;
}

function List({ page, selection }) {
  const empty = html`<${Empty} title=${page.next === null ? "No dead letter of this group is left." : "None among those looked at: go on to the next page."} />`;
  return html`
    <${Table}
      caption="Tasks of this group"
      columns=${COLUMNS}
      rows=${page.tasks}
      keyOf=${(task) => task.id}
      selection=${selection}
      empty=${empty}
    />
    <${Pager} next=${page.next} shown=${page.tasks.length} noun="task" />
  `;
}
