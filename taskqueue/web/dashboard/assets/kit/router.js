// Addresses: what the view is about stands in the path, how it is seen in the query.
import { Value, useValue } from "./value.js";

const here = () => ({ path: location.pathname, search: location.search });

export const place = new Value(here());

addEventListener("popstate", () => place.set(here()));

// Go to an address of the dashboard.
export function go(href, { replace = false } = {}) {
  const before = location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", href);
  place.set(here());
  if (location.pathname !== before) {
    scrollTo(0, 0);
    announce(location.pathname, document.activeElement, Date.now() + TITLE_MS);
  }
}

// How long a page may take until it has a title, milliseconds.
const TITLE_MS = 3000;

// Who cannot see that the page is another one hears its title: once it has one, and
// unless somebody has gone elsewhere meanwhile.
function announce(path, from, until) {
  requestAnimationFrame(() => {
    const now = document.activeElement;
    if (location.pathname !== path || (now !== from && now !== document.body)) return;
    const title = document.querySelector("main h1");
    if (title) title.focus();
    else if (Date.now() < until) setTimeout(() => announce(path, from, until), 50);
  });
}

// A link within the dashboard needs no new document.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const special = event.defaultPrevented || event.button !== 0;
  if (!link || special || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const to = new URL(link.href);
  const other = to.origin !== location.origin || link.target || link.hasAttribute("download");
  if (other || /^\/(api|metrics|health|ready|live|scaling|assets)(\/|$)/.test(to.pathname)) return;
  if (to.hash && to.pathname === location.pathname) return;
  event.preventDefault();
  go(to.pathname + to.search);
});

// The query as an object of texts, and what changes some of it: undefined or "" takes
// a parameter away.  A change begins a list anew, unless it says where it goes on.
export function useQuery() {
  const { search } = useValue(place);
  const query = Object.fromEntries(new URLSearchParams(search));
  const change = (changes, options) => {
    const next = new URLSearchParams(location.search);
    if (!("after" in changes)) next.delete("after");
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined || value === null || value === "") next.delete(name);
      else next.set(name, value);
    }
    const text = next.toString();
    go(location.pathname + (text && `?${text}`), options);
  };
  return [query, change];
}

// The route for a path, and what its places stand for; undefined where there is none.
export function find(routes, path) {
  const segments = path.replace(/\/+$/, "").split("/");
  for (const route of routes) {
    const wanted = route.path.replace(/\/+$/, "").split("/");
    if (wanted.length !== segments.length) continue;
    const params = {};
    const fits = wanted.every((part, i) => {
      if (!part.startsWith(":")) return part === segments[i];
      params[part.slice(1)] = decoded(segments[i]);
      return segments[i] !== "";
    });
    if (fits) return { route, params };
  }
  return undefined;
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

// An address from parts, each of which may hold anything.
export function address(...parts) {
  return "/" + parts.map(encodeURIComponent).join("/");
}

// A query from what has a value.
export function query(values) {
  const given = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "");
  const text = new URLSearchParams(given).toString();
  return text && `?${text}`;
}
