// The same done to many tasks: counted first, then asked, then done.
import { post } from "./api.js";
import { ask } from "./dialog.js";
import { LIVE, State, TaskLink, Trouble } from "./parts.js";
import { say, sayProblem } from "./toasts.js";
import { html, useEffect, useState } from "./view.js";
import { count, counted } from "./words.js";

const ENDED = ["completed", "dead_letter", "cancelled", "expired"];

// The actions: which states they are for, and how they are spoken of.
export const ACTIONS = {
  cancel: { states: LIVE, verb: "Cancel", done: "cancelled", danger: true },
  retry: { states: ["dead_letter"], verb: "Retry", done: "given another chance", danger: false },
  delete: { states: ENDED, verb: "Delete", done: "deleted", danger: true },
};

// Why an action is of no use for tasks in these states; null where it is.
export function uselessness(action, states) {
  if (!states?.length || states.some((state) => ACTIONS[action].states.includes(state))) return null;
  return {
    cancel: "Tasks that have ended cannot be cancelled.",
    retry: "Only dead letters can be tried again.",
    delete: "Only tasks that have ended can be deleted.",
  }[action];
}

// Count, ask, and do.  `about` is { ids } or { filter } as POST /tasks/bulk takes them.
// Resolves with whether anything was done.
export async function askBulk(action, about) {
  const { verb, danger } = ACTIONS[action];
  const wanted = { action, ...narrowed(action, about) };
  const answer = await ask({
    title: `${verb} tasks?`,
    action: verb,
    danger,
    body: ({ choose, setBlocked, setLabel }) => html`<${Counted} ...${{ wanted, choose, setBlocked, setLabel }} />`,
  });
  if (answer === null) return false;
  return perform({ ...wanted, ...answer });
}

// Of the states that a filter names, those that the action is for.
function narrowed(action, { ids, filter }) {
  if (ids) return { ids };
  const states = filter.states?.filter((state) => ACTIONS[action].states.includes(state));
  return { filter: states ? { ...filter, states } : filter };
}

// What a dry run says, and what else there is to decide.
function Counted({ wanted, choose, setBlocked, setLabel }) {
  const [options, setOptions] = useState({});
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const { verb } = ACTIONS[wanted.action];
  useEffect(() => {
    let current = true;
    setBlocked(true);
    post("/tasks/bulk", { ...wanted, ...countedOptions(options), dry_run: true }).then(
      (answer) => {
        if (!current) return;
        setFound(answer);
        setLabel(`${verb} ${counted(answer.count, "task")}`);
        setBlocked(answer.count === 0);
        choose({ ...options, as_of: answer.as_of });
      },
      (error) => current && setProblem(error),
    );
    return () => (current = false);
  }, [options.running]);
  const change = (changes) => {
    const next = { ...options, ...changes };
    setOptions(next);
    choose({ ...next, as_of: found?.as_of });
  };
  if (problem) return html`<${Trouble} problem=${{ view: {}, ...problem, message: problem.message }} />`;
  return html`
    ${found ? html`<${Told} found=${found} />` : html`<p class="loading" role="status">Counting …</p>`}
    ${wanted.action === "cancel" && html`<label class="check"><input
      type="checkbox"
      checked=${Boolean(options.running)}
      onChange=${(event) => change({ running: event.target.checked || undefined })}
    />Also those in progress: their workers are told to stop</label>`}
    ${wanted.action === "retry" && html`<${Retries} set=${(max_retries) => change({ max_retries })} />`}
    ${wanted.action === "delete" && html`<p>Their results and their history are gone then.</p>`}
  `;
}

// The number of retries changes nothing about how many tasks there are.
function countedOptions({ running }) {
  return running ? { running } : {};
}

export function Retries({ set }) {
  const changed = (event) => {
    const number = event.target.valueAsNumber;
    set(Number.isInteger(number) && number >= 0 ? Math.min(number, 1000) : undefined);
  };
  return html`<label class="check">Further tries, if it fails again
    <input type="number" min="0" max="1000" placeholder="as before" onInput=${changed} /></label>`;
}

function Told({ found }) {
  if (found.count === 0) return html`<p>There is no task to which this applies.</p>`;
  return html`<p>This is about <strong>${count(found.count)}${found.more ? " and more" : ""}
      ${" "}${found.count === 1 ? "task" : "tasks"}</strong>.${found.more
        ? ` The first ${count(found.count)} are dealt with; ask again for the others.` : ""}</p>
    <ul class="sample">${found.sample.slice(0, 5).map((task) => html`<li key=${task.id}>
      <${State} state=${task.state} /> ${task.type} <span class="quiet">in ${task.queue}</span>
      ${" "}<${TaskLink} id=${task.id} /></li>`)}
      ${found.count > 5 && html`<li class="quiet">and ${count(found.count - Math.min(5, found.sample.length))} more</li>`}
    </ul>`;
}

async function perform(wanted) {
  const { verb, done } = ACTIONS[wanted.action];
  try {
    const answer = await post("/tasks/bulk", wanted);
    const changed = answer.changed_meanwhile
      ? ` ${counted(answer.changed_meanwhile, "other")} changed in the meantime and ${answer.changed_meanwhile === 1 ? "was" : "were"} left alone.` : "";
    say(`${counted(answer.done, "task")} ${answer.done === 1 ? "was" : "were"} ${done}.${changed}`);
    if (answer.refusals) {
      say(`${counted(answer.refusals, "task")} could not be: ${answer.refused[0]?.message ?? ""}`, "bad");
    }
    return true;
  } catch (error) {
    sayProblem(error, `${verb} did not work`);
    return false;
  }
}
