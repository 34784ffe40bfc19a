// First steps: what to do with a broker that has never had a task.
import { get } from "../kit/api.js";
import { Icon } from "../kit/icons.js";
import { useEvents, useResource } from "../kit/live.js";
import { Copyable, State, TaskLink } from "../kit/parts.js";
import { isUntouched, stats } from "../kit/stats.js";
import { useValue } from "../kit/value.js";
import { html, useEffect, useState } from "../kit/view.js";

const HANDLERS = `cat > app.py <<'END'
def shout(task):
    return task.payload.upper()

HANDLERS = {"shout": shout}
END`;

// Where programs reach the broker, as far as its configuration says.
function brokerAddress(config) {
  for (const endpoint of config?.listen.framed ?? []) {
    const [kind, port, ...rest] = endpoint.split(":");
    if (kind === "tcp" || kind === "ssl") {
      const own = rest.find((part) => part.startsWith("interface="))?.slice("interface=".length);
      const host = own && own !== "0.0.0.0" ? own : location.hostname;
      return `tq://${host}:${port}`;
    }
  }
  return "tq://127.0.0.1:7780";
}

export function Welcome() {
  const { data: broker } = useResource("/broker");
  const address = brokerAddress(broker?.config);
  const option = address === "tq://127.0.0.1:7780" ? "" : `--broker ${address} `;
  return html`<div class="welcome">
    <h1 tabindex="-1">First steps</h1>
    <p class="lead">The broker runs and is ready for work. Three commands, and a task has gone all the way
      through it. Each terminal needs the command <code>taskqueue</code>, which
      ${" "}<code>pip install taskqueue</code> brings.</p>
    <ol class="steps">
      <li><h2>Say what a task does</h2>
        <p>A handler is a function. This one makes text louder.</p>
        <${Copyable} text=${HANDLERS} />
      </li>
      <li><h2>Start a worker</h2>
        <p>In the same folder; it asks the broker for tasks and runs them.</p>
        <${Copyable} text=${`taskqueue ${option}worker app:HANDLERS`} />
      </li>
      <li><h2>Submit the first task</h2>
        <p>In another terminal. When the command has answered, the task is on the broker's disk.</p>
        <${Copyable} text=${`taskqueue ${option}submit shout --payload hello --wait`} />
      </li>
    </ol>
    <${Arrival} />
    <p class="quiet"><a href="/?stay=1">Go to the overview</a> meanwhile. From Python, in your own programs: the tutorial and the how-tos are in the folder
      ${" "}<code>docs</code> of the distribution. Over HTTP: <a href="/api/v1/docs">the REST API</a>.</p>
  </div>`;
}

// Waits for the first task, and follows it.
function Arrival() {
  const { data } = useValue(stats);
  const [task, setTask] = useState(null);
  useEvents(task?.state === "completed" ? null : { kind: ["task"] }, (name, event) => {
    if (name === "task" && (task === null || task.id === event.id)) setTask(event);
  });
  const here = data && !isUntouched(data);
  useEffect(() => {
    if (!here || task) return;
    get("/tasks?limit=1").then(({ tasks }) => tasks[0] && setTask(tasks[0]), () => {});
  }, [here]);
  return html`<div class=${`arrival ${task ? "arrived" : ""}`} role="status">
    ${task
      ? html`<${Icon} name="check" /><div><strong>${task.state === "completed"
            ? "Your first task has gone all the way through."
            : "Your first task is here."}</strong>
          <p><${TaskLink} id=${task.id} /> ${task.type} <${State} state=${task.state} /></p>
          <p><a class="button primary" href="/">Go to the overview</a></p></div>`
      : html`<span class="spinner"></span><div><strong>Waiting for your first task …</strong>
          <p>This page will notice by itself.</p></div>`}
  </div>`;
}
