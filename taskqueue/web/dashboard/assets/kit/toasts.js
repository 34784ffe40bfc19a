// Short words about what was done, or was not; screen readers say them too.
import { Problem, Unreachable } from "./api.js";
import { Icon } from "./icons.js";
import { Value, useValue } from "./value.js";
import { html } from "./view.js";

const SHOWN_MS = 6000;
const ERROR_SHOWN_MS = 15_000;
const MOST = 4;

const toasts = new Value([]);
let number = 0;

// Show a text: kind is "good", "warn" or "bad".
export function say(text, kind = "good") {
  const toast = { id: ++number, text, kind };
  toasts.change((list) => [...list, toast].slice(-MOST));
  setTimeout(() => dismiss(toast.id), kind === "good" ? SHOWN_MS : ERROR_SHOWN_MS);
}

// Say why something was not done.
export function sayProblem(error, what) {
  if (error instanceof Problem) say(`${what}: ${error.message}.`.replace(/\.\.$/, "."), "bad");
  else if (error instanceof Unreachable) say(`${what}: ${error.message}. Try again.`, "bad");
  else throw error;
}

function dismiss(id) {
  toasts.change((list) => list.filter((toast) => toast.id !== id));
}

export function Toasts() {
  const list = useValue(toasts);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${list.map(
      (toast) => html`<div key=${toast.id} class=${`toast toast-${toast.kind}`}>
        <${Icon} name=${toast.kind === "good" ? "check" : "dead"} />
        <p>${toast.text}</p>
        <button type="button" class="bare" onClick=${() => dismiss(toast.id)}>
          <${Icon} name="close" label="Dismiss" />
        </button>
      </div>`,
    )}
  </div>`;
}
