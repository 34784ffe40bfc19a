// The broker's numbers, which the shell asks for and pages show.
import { Value } from "./value.js";

// { data, problem }: data is what GET /stats answers, undefined until it did
export const stats = new Value({ data: undefined, problem: null });

// How often they are asked for where they are the page, and elsewhere, milliseconds.
export const WATCHED_MS = 2000;
export const ASIDE_MS = 10_000;

// Whether a broker has never had a task.
export function isUntouched(data) {
  return data.totals.submitted === 0 && Object.values(data.states).every((n) => n === 0);
}
