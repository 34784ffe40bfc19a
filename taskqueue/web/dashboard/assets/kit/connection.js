// Whether the broker answers; everybody who asks it says so here.
import { Value } from "./value.js";

const FIRST_PAUSE_S = 2;
const LONGEST_PAUSE_S = 15;

// { lost: since when, or null; pauseS: how long to wait before asking again }
export const connection = new Value({ lost: null, pauseS: 0 });

export function answered() {
  if (connection.get().lost !== null) connection.set({ lost: null, pauseS: 0 });
}

export function failed() {
  const { lost, pauseS } = connection.get();
  const longer = lost === null ? FIRST_PAUSE_S : Math.min(pauseS * 1.5, LONGEST_PAUSE_S);
  connection.set({ lost: lost ?? Date.now(), pauseS: longer });
}

// Resolves when the page can be seen: who looks elsewhere costs the broker nothing.
export function visible(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
  });
}

// Resolves after so many milliseconds; sooner, with false, when the signal says so.
export function pause(ms, signal) {
  if (signal?.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve(false)), { once: true });
  });
}
