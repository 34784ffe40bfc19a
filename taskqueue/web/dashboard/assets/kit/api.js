// Asking the broker: JSON in and out, and problem details where it goes wrong.
import { go } from "./router.js";

const ROOT = "/api/v1";

// What the broker answers where it does not do what was asked.
export class Problem extends Error {
  constructor(status, view, retryAfterS) {
    super(view.detail ?? view.message ?? view.title ?? `the broker answered ${status}`);
    this.status = status;
    this.code = view.code ?? "";
    this.view = view;
    this.retryAfterS = retryAfterS;
  }
}

// There was no answer at all, or none that the broker made.
export class Unreachable extends Error {}

// The broker's clock less this one's, seconds: ages are told by the broker's.
let ahead_s = 0;

export function brokerNow() {
  return Date.now() / 1000 + ahead_s;
}

function compareClocks(response) {
  const told = Date.parse(response.headers.get("date") ?? "") / 1000;
  const difference = told + 0.5 - Date.now() / 1000; // the header has whole seconds
  if (Number.isFinite(difference)) ahead_s = Math.abs(difference) > 2 ? difference : 0;
}

// Ask for a path of the API.  Fails with a Problem, Unreachable, or an AbortError.
export async function ask(method, path, { body, signal, stay = false } = {}) {
  const headers = { accept: "application/json, application/problem+json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("the broker does not answer");
  }
  compareClocks(response);
  if (response.ok) return response.status === 204 ? null : await contentOf(response);
  throw await problemOf(response, stay);
}

async function contentOf(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("the broker's answer broke off");
  }
}

async function problemOf(response, stay) {
  let view = {};
  try {
    view = await response.json();
  } catch {
    // A proxy in between answers as it likes.
    if (response.status >= 502) return new Unreachable(`a proxy answered ${response.status}`);
  }
  if (response.status === 401 && !stay) signIn();
  const wait = Number(response.headers.get("retry-after"));
  return new Problem(response.status, view, Number.isFinite(wait) && wait > 0 ? wait : undefined);
}

// To the page for signing in, and back here afterwards.
export function signIn() {
  if (location.pathname === "/sign-in") return;
  const next = location.pathname + location.search;
  go(`/sign-in${next === "/" ? "" : `?next=${encodeURIComponent(next)}`}`, { replace: true });
}

export const get = (path, options) => ask("GET", path, options);
export const post = (path, body = {}, options) => ask("POST", path, { body, ...options });
export const patch = (path, body, options) => ask("PATCH", path, { body, ...options });
export const remove = (path, options) => ask("DELETE", path, options);

// A path of the API from parts, each of which may hold anything.
export function at(...parts) {
  return "/" + parts.map(encodeURIComponent).join("/");
}

// Where the browser may fetch something by itself, for a download.
export function fileAddress(path) {
  return ROOT + path;
}
