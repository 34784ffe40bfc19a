// Reviving and deleting dead letters, few or many: counted first, then asked, then done.
import { askBulk } from "../kit/bulk.js";
import { Button } from "../kit/parts.js";
import { useDenial } from "../kit/session.js";
import { html } from "../kit/view.js";

// The two buttons.  `selection` is { ids } or { filter }, null where there is nothing to
// touch; `what` says in a few words what it is.
export function DeadLetterActions({ selection, what, queue, after, small = false, names = ["Retry", "Delete"] }) {
  const denied = useDenial("cancel", queue);
  const act = async (action) => {
    const about = selection.ids ? selection : { filter: { ...selection.filter, states: ["dead_letter"] } };
    if (await askBulk(action, about)) after();
  };
  const button = (action, name, icon) => html`<${Button}
    kind=${small ? "small" : ""}
    icon=${small ? null : icon}
    denied=${denied}
    disabled=${selection === null}
    title=${`${name}: ${what}`}
    onClick=${() => act(action)}
  >${name}<//>`;
  return html`<div class="buttons">
    ${button("retry", names[0], "failed")}
    ${button("delete", names[1], "close")}
  </div>`;
}
