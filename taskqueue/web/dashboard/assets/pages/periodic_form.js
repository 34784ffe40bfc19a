// Making a periodic task.
import { ask, at, get, Problem, Unreachable } from "../kit/api.js";
import { Panel } from "../kit/parts.js";
import { say } from "../kit/toasts.js";
import { html, useEffect, useId, useRef, useState } from "../kit/view.js";

// What the broker's complaints name, and what the form has for it.
const FIELD_OF = { payload: "payload", payload_json: "payload", payload_b64: "payload", every_s: "every_s" };

const NUMBERS = ["every_s", "priority", "max_retries", "expires_in_s"];

class Complaint extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

// The body of PUT from what was filled in.
function bodyOf(form) {
  const values = Object.fromEntries([...form].map(([name, value]) => [name, value.trim()]));
  const body = {};
  const names = ["type", "queue", "catch_up", ...NUMBERS, ...(values.kind === "cron" ? ["cron", "tz"] : [])];
  for (const name of names) {
    if (!values[name] || (name === "every_s" && values.kind === "cron")) continue;
    body[name] = NUMBERS.includes(name) ? Number(values[name]) : values[name];
  }
  if (values.kind === "every" && !values.every_s) throw new Complaint("every_s", "say every how many seconds");
  if (values.kind === "cron" && !values.cron) throw new Complaint("cron", "say when, such as 30 5 * * *");
  body.overlap = values.overlap === "on";
  if (values.payload) Object.assign(body, payloadOf(values));
  return body;
}

function payloadOf({ payload, form_of }) {
  if (form_of === "text") return { payload };
  try {
    return { payload_json: JSON.parse(payload) };
  } catch (error) {
    throw new Complaint("payload", `this is no JSON: ${error.message}`);
  }
}

async function mustBeNew(name) {
  try {
    await get(at("periodics", name));
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return;
    throw error;
  }
  throw new Complaint("name", "there is one of this name already: delete it first, or take another name");
}

function Field({ name, label, hint, trouble, children, ...rest }) {
  const id = useId();
  const wrong = trouble?.field === name;
  const told = [hint && `${id}-hint`, wrong && `${id}-trouble`].filter(Boolean).join(" ") || null;
  const shared = { id, name, "aria-invalid": wrong ? "true" : null, "aria-describedby": told };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children ? children(shared) : html`<input ...${shared} autocomplete="off" spellcheck="false" ...${rest} />`}
    ${hint && html`<small id=${`${id}-hint`} class="quiet">${hint}</small>`}
    ${wrong && html`<small id=${`${id}-trouble`} class="trouble">${trouble.message}</small>`}
  </div>`;
}

// `made` gets the name of what was made; `leave` closes the form.
export function PeriodicForm({ made, leave }) {
  const [kind, setKind] = useState("cron");
  const [trouble, setTrouble] = useState(null);
  const [busy, setBusy] = useState(false);
  const place = useRef(null);
  useEffect(() => place.current.querySelector("input")?.focus(), []);
  useEffect(() => {
    if (trouble) place.current.querySelector("[aria-invalid=true]")?.focus();
  }, [trouble]);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const name = form.get("name").trim();
    setBusy(true);
    setTrouble(null);
    try {
      const body = bodyOf(form);
      await mustBeNew(name);
      await ask("PUT", at("periodics", name), { body });
      say(`${name} is made.`);
      made(name);
    } catch (error) {
      setTrouble(complaint(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<${Panel} title="A new periodic task">
    <form ref=${place} class="form" onSubmit=${submit}>
      <${What} trouble=${trouble} />
      <${When} kind=${kind} setKind=${setKind} trouble=${trouble} />
      <${How} trouble=${trouble} />
      <p class="trouble" role="alert">${trouble && (trouble.field ? "This cannot be made: see the marked field." : trouble.message)}</p>
      <div class="buttons">
        <button type="submit" class="button primary" disabled=${busy}>${busy ? "Making it …" : "Make it"}</button>
        <button type="button" class="button" onClick=${leave}>Cancel</button>
      </div>
    </form>
  <//>`;
}

function complaint(error) {
  if (error instanceof Complaint) return error;
  if (error instanceof Unreachable) return { field: null, message: `Not made: ${error.message}. Try again.` };
  if (!(error instanceof Problem)) throw error;
  const named = error.view.field;
  const known = FIELD_OF[named] ?? (["name", "type", "queue", "cron", "tz", "priority", "max_retries", "expires_in_s"].includes(named) ? named : null);
  return { field: known, message: error.message };
}

function What({ trouble }) {
  return html`<div class="form-row">
    <${Field} name="name" label="Name" required hint="what it is called by" trouble=${trouble} />
    <${Field} name="type" label="Type of its tasks" required hint="the name of the handler" trouble=${trouble} />
    <${Field} name="queue" label="Queue" placeholder="default" trouble=${trouble} />
    <${Field} name="priority" label="Priority" type="number" min="0" max="255" placeholder="150" trouble=${trouble} />
  </div>`;
}

function When({ kind, setKind, trouble }) {
  const radio = (value, label) => html`<label class="check"><input
    type="radio" name="kind" value=${value} checked=${kind === value} onChange=${() => setKind(value)}
  />${label}</label>`;
  return html`<fieldset class="form-row">
    <legend>When</legend>
    <div class="field">${radio("cron", "by a cron expression")}${radio("every", "every so often")}</div>
    ${kind === "cron"
      ? html`<${Field} key="cron" name="cron" label="Cron expression" placeholder="30 5 * * *" trouble=${trouble}
            hint="minute, hour, day, month, day of the week" />
          <${Field} key="tz" name="tz" label="Time zone" placeholder="UTC" trouble=${trouble} hint="such as Europe/Paris" />`
      : html`<${Field} key="every" name="every_s" label="Every … seconds" type="number" min="1" step="any" trouble=${trouble} />`}
    <${Field} name="catch_up" label="Ticks missed while no broker ran" trouble=${trouble}>
      ${(shared) => html`<select ...${shared}><option value="once">make up for one</option><option value="skip">skip them</option>
        <option value="all">make up for all</option></select>`}
    <//>
    <label class="check"><input type="checkbox" name="overlap" checked />also while the task before has not ended</label>
  </fieldset>`;
}

function How({ trouble }) {
  return html`<div class="form-row">
    <${Field} name="payload" label="Payload" trouble=${trouble} hint="for a task of taskqueue.App, its arguments by name as JSON">
      ${(shared) => html`<textarea ...${shared} rows="3" class="mono" spellcheck="false" placeholder='{"region": "north"}'></textarea>`}
    <//>
    <${Field} name="form_of" label="Written as" trouble=${trouble}>
      ${(shared) => html`<select ...${shared}><option value="json">JSON</option><option value="text">text</option></select>`}
    <//>
    <${Field} name="max_retries" label="Retries" type="number" min="0" max="1000" placeholder="as the queue says" trouble=${trouble} />
    <${Field} name="expires_in_s" label="Expires after … seconds" type="number" min="1" step="any" placeholder="never" trouble=${trouble} />
  </div>`;
}
