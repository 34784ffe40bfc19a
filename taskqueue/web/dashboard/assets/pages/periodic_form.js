// Making a periodic task, and changing one.
import { ask, at, get, post, Problem, Unreachable } from "../kit/api.js";
import { useResource } from "../kit/live.js";
import { Loading, Panel, Trouble } from "../kit/parts.js";
import { useDenial } from "../kit/session.js";
import { say } from "../kit/toasts.js";
import { html, useEffect, useId, useRef, useState } from "../kit/view.js";

// What the broker's complaints name, and what the form has for it.
const FIELD_OF = { payload: "payload", payload_json: "payload", payload_b64: "payload", every_s: "every_s" };

const NUMBERS = ["every_s", "priority", "max_retries", "expires_in_s"];

// What a periodic task may have that the form has no field for: it stays as it is.
const KEPT = ["catch_up_window_s", "headers", "lease_s", "max_lost", "retry_delay_s", "retry_max_delay_s", "retry_jitter"];

class Complaint extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

// The body of PUT from what was filled in; `known` is what the task was before.
function bodyOf(form, known) {
  const values = Object.fromEntries([...form].map(([name, value]) => [name, value.trim()]));
  const body = Object.fromEntries(KEPT.filter((name) => name in known).map((name) => [name, known[name]]));
  const names = ["type", "queue", "catch_up", ...NUMBERS, ...(values.kind === "cron" ? ["cron", "tz"] : [])];
  for (const name of names) {
    if (!values[name] || (name === "every_s" && values.kind === "cron")) continue;
    body[name] = NUMBERS.includes(name) ? Number(values[name]) : values[name];
  }
  if (values.kind === "every" && !values.every_s) throw new Complaint("every_s", "say every how many seconds");
  if (values.kind === "cron" && !values.cron) throw new Complaint("cron", "say when, such as 30 5 * * *");
  body.overlap = values.overlap === "on";
  Object.assign(body, payloadOf(values, known));
  return body;
}

// As a form gives back what it was filled with.
const lined = (text) => text.replace(/\r\n?/g, "\n").trim();

// What was not touched keeps each of its bytes.
function payloadOf({ payload: given, form_of }, known) {
  const payload = lined(given);
  if (known.payload !== undefined && payload === lined(known.payload) && form_of === "text") return { payload: known.payload };
  if (!payload) return {};
  if (form_of === "text") return { payload };
  if (form_of === "base64") return { payload_b64: payload.replace(/\s/g, "") };
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

// The same form, filled with what a periodic task is.
export function EditPeriodic({ name, made, leave }) {
  const { data, problem } = useResource(`${at("periodics", name)}?include=payload`);
  if (data) return html`<${PeriodicForm} key=${name} known=${data} made=${made} leave=${leave} />`;
  return problem ? html`<${Trouble} problem=${problem} />` : html`<${Loading} />`;
}

async function rest(name, enabled) {
  await post(at("periodics", name, enabled ? "resume" : "pause"));
}

// `known` is what is changed, empty for a new one; `made` gets the name; `leave` closes the form.
export function PeriodicForm({ known = {}, made, leave }) {
  const isNew = known.name === undefined;
  const [kind, setKind] = useState(known.every_s === undefined ? "cron" : "every");
  const [enabled, setEnabled] = useState(!known.paused);
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
      const body = bodyOf(form, known);
      if (isNew) await mustBeNew(name);
      await ask("PUT", at("periodics", name), { body });
      if (enabled === Boolean(known.paused)) await rest(name, enabled);
      say(`${name} is ${isNew ? "made" : "changed"}.`);
      made(name);
    } catch (error) {
      setTrouble(complaint(error));
    } finally {
      setBusy(false);
    }
  };
  return html`<${Panel} title=${isNew ? "A new periodic task" : `Change ${known.name}`}>
    <form ref=${place} class="form" onSubmit=${submit}>
      <${What} ...${{ known, trouble }} />
      <${When} ...${{ known, kind, setKind, trouble }} />
      <${How} ...${{ known, trouble }} />
      <${Enabled} ...${{ known, enabled, setEnabled }} />
      <p class="trouble" role="alert">${trouble && (trouble.field ? `This cannot be ${isNew ? "made" : "saved"}: see the marked field.` : trouble.message)}</p>
      <div class="buttons">
        <button type="submit" class="button primary" disabled=${busy}>${isNew ? (busy ? "Making it …" : "Make it") : busy ? "Saving …" : "Save"}</button>
        <button type="button" class="button" onClick=${leave}>Cancel</button>
      </div>
    </form>
  <//>`;
}

function complaint(error) {
  if (error instanceof Complaint) return error;
  if (error instanceof Unreachable) return { field: null, message: `Not done: ${error.message}. Try again.` };
  if (!(error instanceof Problem)) throw error;
  const named = error.view.field;
  const known = FIELD_OF[named] ?? (["name", "type", "queue", "cron", "tz", "priority", "max_retries", "expires_in_s"].includes(named) ? named : null);
  return { field: known, message: error.message };
}

function Enabled({ known, enabled, setEnabled }) {
  const denied = useDenial("cancel", known.queue);
  return html`<label class="check" title=${denied ?? ""}><input type="checkbox" checked=${enabled} disabled=${Boolean(denied)}
    onChange=${(event) => setEnabled(event.target.checked)} />enabled: it fires; otherwise it is paused</label>`;
}

function What({ known, trouble }) {
  return html`<div class="form-row">
    <${Field} name="name" label="Name" required hint="what it is called by" defaultValue=${known.name} readonly=${known.name !== undefined} trouble=${trouble} />
    <${Field} name="type" label="Type of its tasks" required hint="the name of the handler" defaultValue=${known.type} trouble=${trouble} />
    <${Field} name="queue" label="Queue" placeholder="default" defaultValue=${known.queue} trouble=${trouble} />
    <${Field} name="priority" label="Priority" type="number" min="0" max="255" placeholder="150" defaultValue=${known.priority} trouble=${trouble} />
  </div>`;
}

function When({ known, kind, setKind, trouble }) {
  const radio = (value, label) => html`<label class="check"><input
    type="radio" name="kind" value=${value} checked=${kind === value} onChange=${() => setKind(value)}
  />${label}</label>`;
  return html`<fieldset class="form-row">
    <legend>When</legend>
    <div class="field">${radio("cron", "by a cron expression")}${radio("every", "every so often")}</div>
    ${kind === "cron"
      ? html`<${Field} key="cron" name="cron" label="Cron expression" placeholder="30 5 * * *" defaultValue=${known.cron} trouble=${trouble}
            hint="minute, hour, day, month, day of the week" />
          <${Field} key="tz" name="tz" label="Time zone" placeholder="UTC" defaultValue=${known.tz} trouble=${trouble} hint="such as Europe/Paris" />`
      : html`<${Field} key="every" name="every_s" label="Every … seconds" type="number" min="1" step="any" defaultValue=${known.every_s} trouble=${trouble} />`}
    <${Field} name="catch_up" label="Ticks missed while no broker ran" trouble=${trouble}>
      ${(shared) => html`<select ...${shared}>${choices([["once", "make up for one"], ["skip", "skip them"], ["all", "make up for all"]], known.catch_up)}</select>`}
    <//>
    <label class="check"><input type="checkbox" name="overlap" defaultChecked=${known.overlap ?? true} />also while the task before has not ended</label>
  </fieldset>`;
}

const choices = (options, chosen) => options.map(([value, label]) => html`<option value=${value} selected=${value === chosen}>${label}</option>`);

const FORMS = [["json", "JSON"], ["text", "text"], ["base64", "base64"]];

function How({ known, trouble }) {
  const form = known.name === undefined ? "json" : known.payload_b64 === undefined ? "text" : "base64";
  return html`<div class="form-row">
    <${Field} name="payload" label="Payload" trouble=${trouble} hint="for a task of taskqueue.App, its arguments by name as JSON">
      ${(shared) => html`<textarea ...${shared} rows="3" class="mono" spellcheck="false" placeholder='{"region": "north"}' defaultValue=${known.payload ?? known.payload_b64}></textarea>`}
    <//>
    <${Field} name="form_of" label="Written as" trouble=${trouble}>
      ${(shared) => html`<select ...${shared}>${choices(FORMS, form)}</select>`}
    <//>
    <${Field} name="max_retries" label="Retries" type="number" min="0" max="1000" placeholder="as the queue says" defaultValue=${known.max_retries} trouble=${trouble} />
    <${Field} name="expires_in_s" label="Expires after … seconds" type="number" min="1" step="any" placeholder="never" defaultValue=${known.expires_in_s} trouble=${trouble} />
  </div>`;
}
