// What is on the page stays true: resources that are asked for again and again, and
// events that the broker pushes.
import { get, signIn, Problem, Unreachable } from "./api.js";
import { answered, connection, failed, pause, visible } from "./connection.js";
import { useCallback, useEffect, useRef, useState } from "./view.js";

// When something is asked for again that was refused, milliseconds.
const REFUSED_MS = 60_000;

// How seldom something dear is still asked for, milliseconds; and the quickest answer so
// far, which is as long as the way takes.
const LONGEST_MS = 30_000;
let fastest = Infinity;
const REMEMBERED = 4;

// A resource, asked for every so many milliseconds while the page can be seen (never
// again by itself where `every` is 0).  Gives { data, problem, loading, reload }; what
// was there stays until there is something newer.
export function useResource(path, { every = 0, keep = true } = {}) {
  const [state, setState] = useState({ path, data: undefined, problem: null, loading: true });
  const again = useRef(null);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    setState((was) => ({
      path,
      data: keep || was.path === path ? was.data : undefined,
      problem: null,
      loading: true,
    }));
    follow(path, every, stop.signal, again, (next) => setState((was) => ({ ...was, ...next })));
    return () => stop.abort();
  }, [path, every]);
  const reload = useCallback(() => again.current?.(), []);
  return { ...state, reload };
}

async function follow(path, every, signal, again, tell) {
  let lately = [];
  while (!signal.aborted) {
    await visible(signal);
    if (signal.aborted) return;
    // Who asks for it anew while it is on its way means what comes after.
    const next = new AbortController();
    const wake = () => next.abort();
    again.current = wake;
    const began = performance.now();
    const wait = await once(path, every, signal, tell);
    if (signal.aborted) return;
    lately = [performance.now() - began, ...lately].slice(0, REMEMBERED);
    const ms = wait ?? unhurried(every, Math.min(...lately));
    signal.addEventListener("abort", wake, { once: true });
    await (ms > 0 ? pause(ms, next.signal) : aborted(next.signal));
    signal.removeEventListener("abort", wake);
  }
}

// As long as nobody waits for it, an answer that is dear is asked for less often: what it
// takes beyond the way there and back is to be 1 % of the time at most.  (What it takes is
// the least of the last few: the others stood in line.)
function unhurried(every, took) {
  fastest = Math.min(fastest, took);
  return every > 0 ? Math.max(every, Math.min(100 * (took - fastest), LONGEST_MS)) : 0;
}

// Ask once; how long to wait before the next time, milliseconds, where it is special.
async function once(path, every, signal, tell) {
  try {
    const data = await get(path, { signal });
    answered();
    if (!signal.aborted) tell({ data, problem: null, loading: false });
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof Unreachable) {
      failed();
      return connection.get().pauseS * 1000;
    }
    if (!(error instanceof Problem)) throw error;
    answered();
    tell({ problem: error, loading: false });
    // What is forbidden or wrong stays so for a while; what fails is asked for when it may work.
    if (error.status === 403 || error.status === 422) return every > 0 ? REFUSED_MS : undefined;
    return error.status >= 500 || error.status === 429 ? (error.retryAfterS ?? 5) * 1000 : undefined;
  }
}

function aborted(signal) {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

// --- events --------------------------------------------------------------------------

const RETRY_MS = 5000;

// How long a page that nobody looks at goes on listening, milliseconds.  Browsers have few
// connections to one host, which all their tabs share.
const LINGER_MS = 5000;

const NAMES = ["task", "many", "queue", "worker", "periodic", "stats", "reset"];

// The one stream of this page, with all that somebody on it wants to hear.
const stream = {
  wants: new Map(), // who listens: what for
  source: null,
  address: null,
  timer: null,
  missed: false, // whether something may have happened that nobody heard

  join(listener, wanted) {
    this.wants.set(listener, wanted);
    this.plan(30);
  },

  leave(listener) {
    this.wants.delete(listener);
    this.plan(30);
  },

  plan(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.adjust(), ms);
  },

  adjust() {
    const address = this.wants.size ? addressOf([...this.wants.values()]) : null;
    const open = this.source && this.source.readyState !== EventSource.CLOSED;
    if (document.hidden && !open) return; // it is opened when somebody looks
    if (address === this.address && (open || address === null)) return;
    this.source?.close();
    this.address = address;
    this.source = address === null ? null : this.open(address);
  },

  open(address) {
    const source = new EventSource(address);
    source.addEventListener("open", () => this.opened());
    source.addEventListener("error", () => this.broken(source));
    for (const name of NAMES) {
      source.addEventListener(name, (event) => this.tell(name, JSON.parse(event.data)));
    }
    return source;
  },

  opened() {
    answered();
    if (this.missed) this.tell("reset", {});
    this.missed = false;
  },

  // The browser comes back by itself unless the broker refused.
  async broken(source) {
    if (source !== this.source || source.readyState !== EventSource.CLOSED) return;
    this.missed = true;
    this.plan(RETRY_MS);
    try {
      await get("/session", { stay: true });
    } catch (error) {
      if (error instanceof Problem && error.status === 401) signIn();
    }
  },

  tell(name, event) {
    for (const [listener, wanted] of [...this.wants]) {
      if (name === "reset" || wants(wanted, name, event)) listener(name, event);
    }
  },
};

function addressOf(wanted) {
  const union = (field) => {
    const all = wanted.map((one) => one[field]);
    return all.every(Boolean) ? [...new Set(all.flat())].sort() : [];
  };
  const kinds = [...new Set(wanted.flatMap((one) => one.kind))].sort();
  const parts = { kind: kinds, queue: union("queue"), type: union("type"), task: union("task") };
  const query = Object.entries(parts)
    .filter(([, values]) => values.length)
    .map(([name, values]) => `${name}=${values.map(encodeURIComponent).join(",")}`);
  return `/api/v1/events?${query.join("&")}`;
}

function wants(wanted, name, event) {
  if (!wanted.kind.includes(name === "many" ? "task" : name)) return false;
  if (name !== "task") return true;
  const among = (values, value) => !values || values.includes(value);
  return (
    among(wanted.queue, event.queue) && among(wanted.type, event.type) && among(wanted.task, event.id)
  );
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(stream.timer);
  if (!document.hidden) stream.adjust();
  else if (stream.source) {
    stream.timer = setTimeout(() => {
      stream.source?.close();
      stream.source = stream.address = null;
      stream.missed = true;
    }, LINGER_MS);
  }
});

// Hear events while the component is there: `wanted` is { kind: [...], queue, type, task }
// with lists, or null; `heard` gets the name and the data of each.  "reset" says that
// some were missed: look anew.
export function useEvents(wanted, heard) {
  const latest = useRef(heard);
  latest.current = heard;
  const key = JSON.stringify(wanted);
  useEffect(() => {
    if (wanted === null) return undefined;
    const listener = (name, event) => latest.current(name, event);
    stream.join(listener, wanted);
    return () => stream.leave(listener);
  }, [key]);
}

// A function that calls the latest `action` soon after it is called, and not more often
// than each `ms` milliseconds, however often it is called.
export function useThrottle(action, ms) {
  const latest = useRef(action);
  latest.current = action;
  const state = useRef({ timer: null, last: 0 });
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return useCallback(() => {
    const now = state.current;
    if (now.timer !== null) return;
    const wait = Math.max(100, now.last + ms - Date.now());
    now.timer = setTimeout(() => {
      now.timer = null;
      now.last = Date.now();
      latest.current();
    }, wait);
  }, [ms]);
}
