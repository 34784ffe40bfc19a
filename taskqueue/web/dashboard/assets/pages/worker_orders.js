// Telling workers to claim no more, or to end; after a question that says what that touches.
import { at, get, post } from "../kit/api.js";
import { confirm } from "../kit/dialog.js";
import { Button } from "../kit/parts.js";
import { useDenial } from "../kit/session.js";
import { say, sayProblem } from "../kit/toasts.js";
import { html } from "../kit/view.js";
import { counted } from "../kit/words.js";

const ORDERS = {
  quiet: {
    title: "Make quiet",
    question: (who) => `Make ${who} quiet?`,
    effect: "claims no more, finishes what it has in hand, and then stays without work until it is restarted",
    done: "told to claim no more",
  },
  terminate: {
    title: "Terminate",
    question: (who) => `Terminate ${who}?`,
    effect: "claims no more, gives back what it has not begun, finishes what runs, and stops",
    done: "told to finish and stop",
  },
};

const named = (workers) => (workers.length === 1 ? workers[0].id : counted(workers.length, "worker"));

function Question({ workers, effect }) {
  const tasks = workers.reduce((sum, worker) => sum + worker.leases, 0);
  const away = workers.filter((worker) => !worker.connected).length;
  const who = workers.length === 1 ? "It" : "They";
  const has = workers.length === 1 ? "has" : "have";
  return html`<p><strong>${who} ${has} ${tasks === 0 ? "no task" : counted(tasks, "task")} in hand.</strong></p>
    <p>${workers.length === 1 ? "It" : "Each"} ${effect}.</p>
    ${away > 0 && html`<p>${workers.length === 1 ? "It is" : `${away} of them are`} not connected, and
      ${workers.length === 1 ? " hears" : " hear"} of this only after coming back.</p>`}`;
}

async function give(word, names, reload) {
  const { title, question: asked, effect, done } = ORDERS[word];
  try {
    // As they are now, not as they were when the page last looked.
    const workers = await Promise.all(names.map((name) => get(at("workers", name))));
    const question = {
      title: asked(named(workers)),
      body: html`<${Question} workers=${workers} effect=${effect} />`,
      action: title,
      danger: true,
    };
    if (!(await confirm(question))) return;
    await Promise.all(names.map((name) => post(at("workers", name, word))));
    say(`${named(workers)} ${workers.length === 1 ? "is" : "are"} ${done}, with the next heartbeat.`);
  } catch (error) {
    sayProblem(error, "Not everybody was told");
  }
  reload();
}

// The buttons for some workers, which may be none yet.
export function Orders({ workers, reload, danger = "" }) {
  const denied = useDenial("admin");
  const names = workers.map((worker) => worker.id);
  const button = (word, kind) => {
    const told = names.length > 0 && workers.every(({ order }) => order === word || order === "terminate");
    return html`<${Button}
      kind=${kind}
      denied=${denied}
      disabled=${told || names.length === 0}
      title=${told ? "told already" : `A worker ${ORDERS[word].effect}.`}
      onClick=${() => give(word, names, reload)}
    >${ORDERS[word].title}<//>`;
  };
  return html`<div class="buttons">${button("quiet", "")}${button("terminate", danger)}</div>`;
}
