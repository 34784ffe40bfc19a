// The dashboard: what stands around every page, and which page is shown.
import { connection } from "./kit/connection.js";
import { Dialogs } from "./kit/dialog.js";
import { Icon } from "./kit/icons.js";
import { heedKeys, showKeys } from "./kit/keyboard.js";
import { useResource } from "./kit/live.js";
import { Badge, Loading } from "./kit/parts.js";
import { find, go, place } from "./kit/router.js";
import { broker, recognise, session, signOut } from "./kit/session.js";
import { ASIDE_MS, WATCHED_MS, stats } from "./kit/stats.js";
import { ThemeSwitch } from "./kit/theme.js";
import { Toasts, sayProblem } from "./kit/toasts.js";
import { useValue } from "./kit/value.js";
import { html, render, useEffect, useState } from "./kit/view.js";
import { count } from "./kit/words.js";
import { ROUTES } from "./routes.js";

function App() {
  const { path } = useValue(place);
  const who = useValue(session);
  const found = find(ROUTES, path);
  const title = found?.route.title ?? "No such page";
  useEffect(() => {
    document.title = `${title} · ${broker.name}`;
  }, [title]);
  const page = found
    ? html`<${found.route.page} key=${found.route.path} ...${found.params} />`
    : html`<${Lost} path=${path} />`;
  if (found?.route.bare) return html`<main id="main" class="bare-page">${page}</main><${Toasts} />`;
  return html`
    <a class="skip" href="#main">Skip to the page</a>
    ${who && html`<${Numbers} path=${path} />`}
    <div class="frame">
      <${Sidebar} path=${path} />
      <div class="column">
        <${Lines} />
        <main id="main" tabindex="-1">${who ? page : html`<${Loading} />`}</main>
      </div>
    </div>
    <${Toasts} />
    <${Dialogs} />
  `;
}

// Asks for the numbers that several pages show, often where they are the page.
function Numbers({ path }) {
  const watched = path === "/" || path === "/welcome";
  const { data, problem } = useResource("/stats", { every: watched ? WATCHED_MS : ASIDE_MS });
  useEffect(() => stats.set({ data, problem }), [data, problem]);
  return null;
}

function Sidebar({ path }) {
  const [open, setOpen] = useState(false);
  const { data } = useValue(stats);
  useEffect(() => setOpen(false), [path]);
  const within = (route) => (route.path === "/" ? path === "/" : `${path}/`.startsWith(`${route.path}/`));
  return html`<header class="sidebar">
    <div class="brand">
      <a href="/" class="brand-name" title=${`taskqueue ${broker.version}`}>
        <${Mark} /><span>${broker.name}</span>
      </a>
      ${data && !data.healthy && html`<${Badge} kind="bad">degraded<//>`}
      <button
        type="button"
        class="bare menu-button"
        aria-expanded=${open}
        aria-controls="navigation"
        onClick=${() => setOpen(!open)}
      ><${Icon} name=${open ? "close" : "menu"} label="Menu" /></button>
    </div>
    <div id="navigation" class=${`navigation ${open ? "open" : ""}`}>
      <nav aria-label="Pages of the dashboard">
        <ul>${ROUTES.filter((route) => route.icon).map(
          (route) => html`<li key=${route.path}>
            <a href=${route.path} aria-current=${within(route) ? "page" : null}>
              <${Icon} name=${route.icon} /><span>${route.title}</span>
              ${data && html`<${Count} of=${route.count?.(data)} />`}
            </a>
          </li>`,
        )}</ul>
      </nav>
      <${Corner} />
    </div>
  </header>`;
}

function Count({ of }) {
  return of ? html`<small class="count">${count(of)}</small>` : null;
}

function Mark() {
  return html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <rect width="32" height="32" rx="8" />
    <path d="M8 10.5h16M8 16h11M8 21.5h6" />
    <circle cx="23" cy="21.5" r="2.6" />
  </svg>`;
}

function Corner() {
  const who = useValue(session);
  const leave = async () => {
    try {
      await signOut();
      go("/sign-in");
    } catch (error) {
      sayProblem(error, "You are still signed in");
    }
  };
  return html`<div class="corner">
    ${who?.name && !who.open && html`<p class="who" title=${who.permissions.join(", ")}>
      ${who.name}${who.role && html` <small>${who.role}</small>`}
    </p>`}
    ${who?.open && who.warning && html`<a class="open-badge" href="/" title=${who.warning}>
      <${Badge} kind="warn">open to everyone<//></a>`}
    <div class="corner-buttons">
      <${ThemeSwitch} />
      <button type="button" class="bare" title="Keys (?)" onClick=${() => showKeys(ROUTES)}>
        <${Icon} name="help" label="Keys" />
      </button>
      <a class="bare" href="/api/v1/docs" title="REST API">API</a>
      ${who && !who.open && html`<button type="button" class="bare" title="Sign out" onClick=${leave}>
        <${Icon} name="out" label="Sign out" />
      </button>`}
    </div>
    <p class="version">taskqueue ${broker.version}</p>
  </div>`;
}

// What matters wherever one is.
function Lines() {
  const { lost } = useValue(connection);
  return html`<div class="lines">
    <div role="status">${lost !== null && html`<p class="line line-bad">
      <span class="spinner"></span>Connection to the broker lost: trying again. What is shown is from
      ${" "}${new Date(lost).toLocaleTimeString("en-GB")}.
    </p>`}</div>
    ${broker.readOnly && html`<p class="line"><span>For reading only: <code>[http] api</code> is <code>read</code>.</span></p>`}
  </div>`;
}

function Lost({ path }) {
  return html`<h1 tabindex="-1">No such page</h1>
    <p>There is nothing at <code>${path}</code>. <a href="/">Go to the overview</a>.</p>`;
}

heedKeys(ROUTES);
render(html`<${App} />`, document.getElementById("app"));
if (location.pathname !== "/sign-in") recogniseUntilKnown();

async function recogniseUntilKnown() {
  try {
    await recognise();
  } catch {
    setTimeout(recogniseUntilKnown, 2000);
  }
}
