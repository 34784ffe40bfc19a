// One task: its life, what it carries, what became of it, and what can be done with it.
import { Retries } from "../kit/bulk.js";
import { at, post, remove } from "../kit/api.js";
import { ask, confirm } from "../kit/dialog.js";
import { useEvents, useResource, useThrottle } from "../kit/live.js";
import { Ago, At, Button, LIVE, Loading, Notice, Panel, QueueLink, State, Trouble, WorkerLink } from "../kit/parts.js";
import { go } from "../kit/router.js";
import { useDenial } from "../kit/session.js";
import { say, sayProblem } from "../kit/toasts.js";
import { html, useState } from "../kit/view.js";
import { count, duration } from "../kit/words.js";
import { Content } from "./content.js";
import { Dependencies } from "./dependencies.js";
import { Life } from "./timeline.js";

export function Task({ id }) {
  const live = (task) => task === undefined || LIVE.includes(task.state);
  const [every, setEvery] = useState(5000);
  const path = at("tasks", id);
  const { data: task, problem, reload } = useResource(`${path}?include=history,dependents,options`, { every, keep: false });
  const soon = useThrottle(reload, 500);
  useEvents(task ? { kind: ["task"], task: [id] } : null, soon);
  // Events tell of states; how far it is, is asked for.
  const wanted = live(task) ? (task?.state === "in_progress" ? 2000 : 5000) : 30_000;
  if (wanted !== every) setEvery(wanted);
  if (problem?.status === 404) return html`<${Gone} id=${id} />`;
  if (!task) return problem ? html`<h1 tabindex="-1">Task</h1><${Trouble} problem=${problem} />` : html`<${Loading} />`;
  return html`
    <p class="crumbs"><a href="/tasks">Tasks</a> / <span class="mono">${task.id}</span></p>
    <div class="title-row">
      <h1 tabindex="-1">${task.type}</h1>
      <${State} state=${task.state} />
      <${Actions} task=${task} reload=${reload} />
    </div>
    ${task.cancel_requested && LIVE.includes(task.state) && html`<${Notice} kind="warn">
      Its worker has been told to stop; it is cancelled when the worker yields, or its lease ends.<//>`}
    <div class="task-columns">
      <div class="stack">
        <${Panel} title="Life"><${Life} task=${task} /><//>
        ${task.error && html`<${Panel} title="Newest error"><pre class="code error-text" tabindex="0">${task.error}</pre><//>`}
        <${Dependencies} task=${task} mark=${task.ended_at ?? ""} />
        <${Content} title="Payload" path=${`${path}/payload`} />
        ${task.state === "completed" && html`<${Content} title="Result" path=${`${path}/result`} mark=${task.ended_at} />`}
      </div>
      <div class="stack">
        <${Facts} task=${task} />
        ${Object.keys(task.options ?? {}).length > 0 && html`<${Options} options=${task.options} />`}
        ${task.progress !== undefined && html`<${Progress} progress=${task.progress} />`}
        ${task.headers && html`<${Headers} headers=${task.headers} />`}
      </div>
    </div>`;
}

function Gone({ id }) {
  return html`<h1 tabindex="-1">No such task</h1>
    <p>There is no task <code>${id}</code>. It may have been deleted, or its time in the store is over
      (<code>[retention]</code>).</p>
    <p><a href="/tasks">All tasks</a></p>`;
}

function Facts({ task }) {
  const moment = (value) => value !== undefined && html`<${At} at=${value} /> <span class="quiet">(<${Ago} at=${value} />)</span>`;
  const rows = [
    ["Id", html`<span class="mono wrap">${task.id}</span>`],
    ["Queue", html`<${QueueLink} name=${task.queue} />`],
    ["Type", html`<a href=${`/tasks?type=${encodeURIComponent(task.type)}`}>${task.type}</a>`],
    ["Priority", `${task.priority} (${task.priority >= 200 ? "high" : task.priority >= 100 ? "normal" : "low"})`],
    ["Submitted", moment(task.submitted_at)],
    ["Runs from", moment(task.run_at)],
    ["Expires", moment(task.expires_at)],
    ["Ended", moment(task.ended_at)],
    ["Ran for", task.ended_at && task.claimed_at && duration(Math.max(0, task.ended_at - task.claimed_at))],
    ["Worker", task.worker && html`<${WorkerLink} name=${task.worker} />`],
    ["Attempts", count(task.attempt)],
    ["Failures", task.failures > 0 && count(task.failures)],
    ["Losses", task.losses > 0 && `${count(task.losses)} (workers that were lost with it)`],
    ["Unique key", task.unique && html`<code class="wrap">${task.unique}</code> until ${task.unique_until}`],
    ["Key held until", moment(task.unique_ends_at)],
  ];
  return html`<${Panel} title="Facts"><dl class="facts">
    ${rows.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl><//>`;
}

// Jobs of other protocols have no limit but the one that their queue's section sets.
const bounded = (most) => (most < 0 ? "without a limit, unless the queue sets one" : count(most));

const OPTIONS = {
  max_retries: ["Retries", bounded],
  max_lost: ["Losses allowed", bounded],
  lease_s: ["Lease", duration],
  retry_delay_s: ["Retry after", duration],
  retry_max_delay_s: ["at most after", duration],
  retry_jitter: ["Jitter", (share) => `±${Math.round(share * 100)} %`],
  on_dependency_failure: ["If a dependency ends badly", (word) => (word === "run" ? "it runs anyway" : "it is given up")],
};

// What it was submitted with that differs from its queue.
function Options({ options }) {
  return html`<${Panel} title="Options" aside=${html`<span class="quiet">its own</span>`}><dl class="facts">
    ${Object.entries(options).map(([name, value]) => {
      const [title, words] = OPTIONS[name] ?? [name, String];
      return html`<div key=${name}><dt>${title}</dt><dd>${words(value)}</dd></div>`;
    })}
  </dl><//>`;
}

// Handlers say how far they are in any JSON; { done, of } can be drawn.
function Progress({ progress }) {
  const { done, of } = progress ?? {};
  const share = Number.isFinite(done) && of > 0 ? done / of : null;
  return html`<${Panel} title="Progress" aside=${share !== null && `${Math.round(share * 100)} %`}>
    ${share !== null && html`<progress max="1" value=${share} aria-label="Progress"></progress>`}
    <pre class="code" tabindex="0">${JSON.stringify(progress, null, 2)}</pre>
  <//>`;
}

function Headers({ headers }) {
  return html`<${Panel} title="Headers"><dl class="facts">
    ${Object.entries(headers).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd class="mono wrap">${value}</dd></div>`)}
  </dl><//>`;
}

// --- what can be done -------------------------------------------------------------------

function Actions({ task, reload }) {
  const denied = useDenial("cancel", task.queue);
  const path = at("tasks", task.id);
  const act = async (what, question, request) => {
    const answer = await ask(question);
    if (answer === null) return;
    try {
      say(await request(answer));
      reload();
    } catch (error) {
      sayProblem(error, `The task was not ${what}`);
    }
  };
  const running = task.state === "in_progress";
  const cancel = () => act("cancelled", cancelling(task), async () => {
    const { state } = await post(`${path}/cancel`, running ? { running: true } : {});
    return state === "cancelled" ? "The task is cancelled." : "Its worker is told to stop.";
  });
  const retry = () => act("tried again", retrying(task), async (options) => {
    await post(`${path}/retry`, options === true ? {} : options);
    return "The task runs again.";
  });
  const forget = async () => {
    if (!(await confirm(deleting(task)))) return;
    try {
      await remove(path);
      say("The task is deleted.");
      go("/tasks");
    } catch (error) {
      sayProblem(error, "The task was not deleted");
    }
  };
  return html`<div class="buttons">
    ${LIVE.includes(task.state) && html`<${Button} kind="warn" denied=${denied} onClick=${cancel}>Cancel<//>`}
    ${task.state === "dead_letter" && html`<${Button} kind="primary" denied=${denied} onClick=${retry}>Retry<//>`}
    ${!LIVE.includes(task.state) && html`<${Button} kind="warn" denied=${denied} onClick=${forget}>Delete<//>`}
  </div>`;
}

function cancelling(task) {
  const waiting = task.dependents?.length ?? 0;
  return {
    title: "Cancel this task?",
    action: "Cancel 1 task",
    danger: true,
    body: html`<p>${task.state === "in_progress"
      ? html`Its worker <${WorkerLink} name=${task.worker} /> is told to stop. What it has done so far stays done.`
      : "It will not run."}</p>
      ${waiting > 0 && html`<p>${count(waiting)} ${waiting === 1 ? "task waits" : "tasks wait"} for it, and
        ${waiting === 1 ? " becomes a dead letter" : " become dead letters"} unless submitted to run anyway.</p>`}`,
  };
}

function retrying() {
  return {
    title: "Run this task again?",
    action: "Retry 1 task",
    body: ({ choose }) => html`<p>It goes back into its queue, with fresh retries.</p>
      <${Retries} set=${(max_retries) => choose(max_retries === undefined ? true : { max_retries })} />`,
  };
}

function deleting() {
  return {
    title: "Delete this task?",
    action: "Delete 1 task",
    danger: true,
    body: html`<p>Its payload, its result and its history are gone then.</p>`,
  };
}
