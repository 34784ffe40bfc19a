// Reviving and deleting dead letters, few or many: counted first, then asked, then done.
import { post } from "../kit/api.js";
import { ask } from "../kit/dialog.js";
import { Button, Loading, Trouble } from "../kit/parts.js";
import { useDenial } from "../kit/session.js";
import { say, sayProblem } from "../kit/toasts.js";
import { html, useEffect, useState } from "../kit/view.js";
import { counted, firstLine } from "../kit/words.js";

const letters = (number) => counted(number, "dead letter");

const ACTIONS = {
  retry: {
    title: "Retry",
    path: "/dead-letters/retry",
    effect: "They go back to their queues and run again.",
    done: (number) => `${letters(number)} ${number === 1 ? "runs" : "run"} again.`,
    failed: "Not all of them were revived",
  },
  delete: {
    title: "Delete",
    path: "/dead-letters/delete",
    effect: "They are forgotten for good, with their payloads, errors and history.",
    done: (number) => `${letters(number)} deleted.`,
    failed: "Not all of them were deleted",
  },
};

// Deleting by id is not only for dead letters, so the API has it elsewhere.
function request(action, selection) {
  if (action === "delete" && selection.ids) return ["/tasks/bulk", { action, ...selection }];
  return [ACTIONS[action].path, selection];
}

// Counts what would be touched, and lets people say how often to try again.
function Question({ action, selection, choose, setBlocked, setLabel }) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const [retries, setRetries] = useState("");
  useEffect(() => {
    const [path, body] = request(action, selection);
    setBlocked(true);
    post(path, { ...body, dry_run: true }).then((answer) => {
      setFound(answer);
      setBlocked(answer.count === 0);
      setLabel(`${ACTIONS[action].title} ${letters(answer.count)}${answer.more ? " and more" : ""}`);
    }, setProblem);
  }, []);
  const wrong = retries !== "" && !(/^\d{1,4}$/.test(retries) && Number(retries) <= 1000);
  useEffect(() => {
    if (found === null) return;
    choose({ as_of: found.as_of, retries: retries === "" ? null : Number(retries) });
    setBlocked(found.count === 0 || wrong);
  }, [found, retries]);
  if (problem) return html`<${Trouble} problem=${problem.view ? problem : { view: {}, message: problem.message }} />`;
  if (found === null) return html`<${Loading} />`;
  return html`
    <p><strong>${letters(found.count)}${found.more && ", and more than these,"} ${found.count === 1 ? "is" : "are"} touched.</strong>
      ${" "}${found.count > 0 && ACTIONS[action].effect}</p>
    ${found.sample.length > 0 && html`<ul class="sample">${found.sample.slice(0, 3).map(
      (task) => html`<li key=${task.id}><strong>${task.type}</strong> <span class="quiet">${firstLine(task.error)}</span></li>`,
    )}</ul>`}
    ${action === "retry" && html`<label class="field">How often each may fail again and be retried
      <input
        type="number" min="0" max="1000" step="1" inputmode="numeric" placeholder="as often as before"
        value=${retries} aria-invalid=${wrong} onInput=${(event) => setRetries(event.target.value)}
      />
      ${wrong && html`<small class="trouble">a whole number from 0 to 1000</small>`}
    </label>`}
  `;
}

async function carryOut(action, selection, { as_of, retries }) {
  const [path, body] = request(action, selection);
  const given = { ...body, as_of, ...(action === "retry" && retries !== null && { max_retries: retries }) };
  const all = { done: 0, changed: 0, refusals: 0, refused: [] };
  for (let more = true; more; ) {
    const answer = await post(path, given);
    all.done += answer.done;
    all.changed += answer.changed_meanwhile;
    all.refusals = answer.refusals;
    all.refused = answer.refused;
    more = answer.more && answer.done > 0;
  }
  return all;
}

// Ask, and do it.  `selection` is { ids } or { filter }; `what` says in a few words what it is.
async function perform(action, selection, what, after) {
  const { title, done, failed } = ACTIONS[action];
  const body = (tools) => html`<${Question} action=${action} selection=${selection} ...${tools} />`;
  const choice = await ask({ title: `${title} ${what}?`, body, action: title, danger: action === "delete" });
  if (choice === null || choice === true) return;
  try {
    const all = await carryOut(action, selection, choice);
    const changed = all.changed > 0 ? ` ${letters(all.changed)} had changed meanwhile.` : "";
    const refused = all.refusals > 0 ? ` ${letters(all.refusals)} refused: ${all.refused[0]?.message}.` : "";
    say(`${done(all.done)}${changed}${refused}`, all.refusals > 0 ? "warn" : "good");
  } catch (error) {
    sayProblem(error, failed);
  }
  after();
}

// The two buttons; `selection` null where there is nothing to touch.
export function DeadLetterActions({ selection, what, queue, after, small = false, names = ["Retry", "Delete"] }) {
  const denied = useDenial("cancel", queue);
  const button = (action, name, icon) => html`<${Button}
    kind=${small ? "small" : ""}
    icon=${icon}
    denied=${denied}
    disabled=${selection === null}
    title=${`${name}: ${what}`}
    onClick=${() => perform(action, selection, what, after)}
  >${name}<//>`;
  return html`<div class="buttons">
    ${button("retry", names[0], small ? null : "failed")}
    ${button("delete", names[1], small ? null : "close")}
  </div>`;
}
