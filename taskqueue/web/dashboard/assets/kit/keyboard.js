// Keys: g and a letter to go somewhere, / to search, ? for help.
import { ask, isOpen } from "./dialog.js";
import { go } from "./router.js";
import { html } from "./view.js";

const CHORD_MS = 1500;

let began = 0;

function typing(target) {
  return target.closest?.("input, select, textarea, [contenteditable]") !== null;
}

// Heed the keys; `routes` have { key, title, path } where a letter leads to them.
export function heedKeys(routes) {
  const places = new Map(routes.filter((route) => route.key).map((route) => [route.key, route]));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isOpen() || typing(event.target)) return;
    const chord = event.timeStamp - began < CHORD_MS && began > 0;
    began = 0;
    if (chord && places.has(event.key)) go(places.get(event.key).path);
    else if (event.key === "g") began = event.timeStamp;
    else if (event.key === "/") search(event);
    else if (event.key === "?") showKeys(routes);
  });
}

// To this page's own search, or to that of the tasks.
function search(event) {
  event.preventDefault();
  const focus = () => document.querySelector("[data-search]")?.focus();
  if (document.querySelector("[data-search]")) return focus();
  go("/tasks");
  return setTimeout(focus, 200);
}

export function showKeys(routes) {
  const rows = [
    ...routes.filter((route) => route.key).map((route) => [["g", route.key], `Go to ${route.title}`]),
    [["/"], "Search"],
    [["?"], "Show these keys"],
    [["Esc"], "Close a dialog"],
  ];
  ask({
    title: "Keys",
    body: html`<dl class="keys">
      ${rows.map(
        ([keys, what]) => html`<div><dt>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd></div>`,
      )}
    </dl>`,
  });
}
