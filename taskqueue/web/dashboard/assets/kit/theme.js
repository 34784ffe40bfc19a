// Light, dark, or as the system has it; what was chosen stays.
import { Value, useValue } from "./value.js";
import { Icon } from "./icons.js";
import { html } from "./view.js";

const KEY = "taskqueue-theme";
const CHOICES = ["auto", "light", "dark"];
const ICONS = { auto: "auto", light: "sun", dark: "moon" };
const system = matchMedia("(prefers-color-scheme: dark)");

const chosen = new Value(document.documentElement.dataset.theme ?? "auto");

// "light" or "dark": what is seen
export const theme = new Value(seen());

function seen() {
  const choice = chosen.get();
  return choice === "auto" ? (system.matches ? "dark" : "light") : choice;
}

system.addEventListener("change", () => theme.set(seen()));

function choose(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  try {
    if (choice === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // Storage may be forbidden: then it holds as long as the page is open.
  }
  chosen.set(choice);
  theme.set(seen());
}

export function ThemeSwitch() {
  const choice = useValue(chosen);
  const next = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
  return html`<button
    type="button"
    class="bare"
    title=${`Theme: ${choice}. Change to ${next}.`}
    onClick=${() => choose(next)}
  ><${Icon} name=${ICONS[choice]} label=${`Theme: ${choice}. Change to ${next}.`} /></button>`;
}
