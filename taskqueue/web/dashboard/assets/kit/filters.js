// A bar of filters whose state is the query of the address.
import { Icon } from "./icons.js";
import { go, useQuery } from "./router.js";
import { html, useEffect, useId, useRef, useState } from "./view.js";

const TYPED_MS = 400;

// A field is { name, label, kind: "search" | "text" | "number" | "choice" | "choices" | "moment",
// options: [value or [value, label]], placeholder }.  Further fields hide behind a button, but
// for those of several choices.  `leads` of a field makes an address of a text that is one.
export function Filters({ fields, more = [] }) {
  const [query, change] = useQuery();
  const all = [...fields, ...more];
  const used = all.filter((field) => query[field.name]);
  const [open, setOpen] = useState(more.some((field) => query[field.name] && field.kind !== "choices"));
  const clear = () => change(Object.fromEntries(all.map((field) => [field.name, ""])));
  const draw = (field) => html`<${Field}
    key=${field.name}
    ...${field}
    value=${query[field.name] ?? ""}
    set=${(value, options) => change({ [field.name]: value }, options)}
  />`;
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    ${fields.map(draw)}
    ${open && more.filter((field) => field.kind !== "choices").map(draw)}
    <div class="filters-end">
      ${more.length > 0 &&
      html`<button
        type="button"
        class="button small"
        aria-expanded=${open}
        onClick=${() => setOpen(!open)}
      >${open ? "Fewer filters" : "More filters"}</button>`}
      ${used.length > 0 &&
      html`<button type="button" class="button small" onClick=${clear}>Clear ${used.length}</button>`}
    </div>
    ${more.filter((field) => field.kind === "choices").map(draw)}
  </form>`;
}

const KINDS = { search: Typed, text: Typed, number: Typed, moment: Moment, choice: Choice, choices: Choices };

function Field(field) {
  const id = useId();
  const Kind = KINDS[field.kind];
  if (field.kind === "choices") return html`<${Choices} ...${field} />`;
  return html`<div class=${`field field-${field.kind}`}>
    <label for=${id}>${field.label}</label>
    <${Kind} ...${field} id=${id} />
  </div>`;
}

// What is typed counts a moment after the last key, or at once with Enter.
function Typed({ id, kind, value, set, placeholder, leads }) {
  const [text, setText] = useState(value);
  const timer = useRef(null);
  // What was typed here is not put back when it comes round by way of the address: by then
  // there may be another letter.
  const sent = useRef(value);
  useEffect(() => {
    if (value !== sent.current) setText(value);
    sent.current = value;
  }, [value]);
  const send = (now, options) => {
    sent.current = now.trim();
    set(sent.current, options);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  const typed = (event) => {
    const now = event.target.value;
    setText(now);
    clearTimeout(timer.current);
    if (leads?.(now.trim())) return go(leads(now.trim()));
    return (timer.current = setTimeout(() => send(now, { replace: true }), TYPED_MS));
  };
  const enter = (event) => {
    if (event.key !== "Enter") return;
    clearTimeout(timer.current);
    send(text);
  };
  const input = html`<input
    id=${id}
    type=${kind === "number" ? "number" : "text"}
    inputmode=${kind === "number" ? "numeric" : null}
    autocomplete="off"
    spellcheck="false"
    data-search=${kind === "search" ? "true" : null}
    placeholder=${placeholder}
    value=${text}
    onInput=${typed}
    onKeyDown=${enter}
  />`;
  return kind === "search" ? html`<span class="search"><${Icon} name="search" />${input}</span>` : input;
}

// The address has seconds since 1970; people have their own time.
function Moment({ id, value, set }) {
  const local = value && new Date(value * 1000 - new Date(value * 1000).getTimezoneOffset() * 60_000);
  const changed = (event) => {
    const at = new Date(event.target.value).getTime() / 1000;
    set(Number.isFinite(at) ? String(at) : "");
  };
  return html`<input
    id=${id}
    type="datetime-local"
    value=${local ? local.toISOString().slice(0, 16) : ""}
    onChange=${changed}
  />`;
}

const pair = (option) => (Array.isArray(option) ? option : [option, option]);

function Choice({ id, value, set, options }) {
  return html`<select id=${id} value=${value} onChange=${(event) => set(event.target.value)}>
    ${options.map(pair).map(([key, label]) => html`<option value=${key} selected=${key === value}>${label}</option>`)}
  </select>`;
}

// Several of a few, each a button that stays down.
function Choices({ label, value, set, options, draw }) {
  const chosen = value ? value.split(",") : [];
  const turn = (key) => {
    const next = chosen.includes(key) ? chosen.filter((one) => one !== key) : [...chosen, key];
    set(options.map((option) => pair(option)[0]).filter((one) => next.includes(one)).join(","));
  };
  return html`<fieldset class="choices">
    <legend>${label}</legend>
    ${options.map(pair).map(
      ([key, text]) => html`<button
        key=${key}
        type="button"
        class=${`chip ${chosen.includes(key) ? "down" : ""}`}
        aria-pressed=${chosen.includes(key)}
        onClick=${() => turn(key)}
      >${draw ? draw(key) : text}</button>`,
    )}
  </fieldset>`;
}
