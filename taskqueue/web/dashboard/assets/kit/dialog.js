// Questions before something is done.  The browser's own <dialog> keeps the focus inside,
// closes on Escape, and gives the focus back.
import { Value, useValue } from "./value.js";
import { html, useEffect, useId, useRef, useState } from "./view.js";

const open = new Value(null);

// Show a dialog and resolve with what its buttons chose; null where it was dismissed.
//
// `body` is something to show, or a component that gets { choose, setBlocked, setLabel }.
// `action` names the button that does it; without one there is only "Close".
export function ask({ title, body, action, danger = false }) {
  return new Promise((resolve) => {
    open.get()?.resolve(null);
    open.set({ title, body, action, danger, resolve });
  });
}

// Ask whether to do something; resolves with true or false.
export async function confirm(question) {
  return (await ask(question)) !== null;
}

export const isOpen = () => open.get() !== null;

export function Dialogs() {
  const question = useValue(open);
  return question && html`<${Question} key=${question.title} ...${question} />`;
}

function Question({ title, body, action, danger, resolve }) {
  const place = useRef(null);
  const id = useId();
  const answer = useRef(true);
  const [blocked, setBlocked] = useState(false);
  const [label, setLabel] = useState(action);
  const done = (value) => {
    place.current?.close();
    open.set(null);
    resolve(value);
  };
  useEffect(() => {
    place.current.showModal();
    // To what is to be filled in; else to the button that destroys nothing.
    const field = place.current.querySelector("input:not([type=checkbox]), select, textarea");
    const button = place.current.querySelector(danger || !action ? "[data-back]" : "[type=submit]");
    (field ?? button).focus();
  }, []);
  const choose = (value) => (answer.current = value);
  const Body = body;
  return html`<dialog
    ref=${place}
    class="dialog"
    aria-labelledby=${id}
    onCancel=${(event) => (event.preventDefault(), done(null))}
    onClick=${(event) => event.target === place.current && done(null)}
  >
    <form
      class="dialog-box"
      onSubmit=${(event) => (event.preventDefault(), blocked || !action || done(answer.current))}
    >
      <h2 id=${id}>${title}</h2>
      <div class="dialog-body">
        ${typeof body === "function" ? html`<${Body} ...${{ choose, setBlocked, setLabel }} />` : body}
      </div>
      <div class="dialog-buttons">
        <button type="button" class="button" data-back onClick=${() => done(null)}>
          ${action ? "Back" : "Close"}
        </button>
        ${action &&
        html`<button type="submit" class=${`button ${danger ? "danger" : "primary"}`} disabled=${blocked}>
          ${label}
        </button>`}
      </div>
    </form>
  </dialog>`;
}
