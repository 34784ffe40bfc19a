// The last hours in samples: all of them once, and then only what is new.
import { get } from "./api.js";
import { answered, pause, visible } from "./connection.js";
import { useEffect, useState } from "./view.js";

// Samples are in the broker each 10 seconds for an hour, each minute for a day.
const AGAIN_MS = 10_000;

// The samples of the last so many seconds, oldest first; undefined until they are here.
export function useHistory(span_s) {
  const [history, setHistory] = useState(undefined);
  useEffect(() => {
    const stop = new AbortController();
    setHistory(undefined);
    follow(span_s, stop.signal, setHistory);
    return () => stop.abort();
  }, [span_s]);
  return history;
}

async function follow(span_s, signal, tell) {
  let samples = [];
  let step_s = 10;
  while (!signal.aborted) {
    await visible(signal);
    try {
      const found = await get(`/stats/history?span_s=${missing(samples, span_s, step_s)}`, { signal });
      answered();
      step_s = found.step_s;
      samples = joined(samples, found.samples, span_s, step_s);
      tell(thinned(samples, step_s, span_s));
    } catch {
      // The numbers that are asked for more often say whether the broker is there.
    }
    await pause(Math.max(AGAIN_MS, step_s * 500), signal);
  }
}

// How far back to ask: everything at first, and after that as far as there is something
// new.  A span of more than an hour is answered from other samples: it is asked for whole.
function missing(samples, span_s, step_s) {
  if (samples.length === 0 || span_s > 3600) return span_s;
  const age_s = Date.now() / 1000 - samples.at(-1).received;
  return Math.min(span_s, Math.max(10, Math.ceil(age_s + 2 * step_s)));
}

function joined(old, fresh, span_s, step_s) {
  const received = Date.now() / 1000;
  // A sample's moment is worked out anew for each answer, and may differ by a little.
  const last = old.at(-1)?.at ?? -Infinity;
  const newer = span_s > 3600 ? fresh : fresh.filter((sample) => sample.at > last + step_s / 2);
  const all = [...(span_s > 3600 ? [] : old), ...newer.map((sample) => ({ ...sample, received }))];
  const first = (all.at(-1)?.at ?? 0) - span_s;
  return all.filter((sample) => sample.at >= first);
}

// How many points a line has at most: more of them are noise.
const MOST_POINTS = 120;

// As many samples as can be told apart, each the mean of several that follow each other.
// Which ones belong together depends on their moments only: so lines move on, and do not
// change behind.
export function thinned(samples, step_s, span_s) {
  const width_s = step_s * Math.ceil(span_s / step_s / MOST_POINTS);
  if (width_s <= step_s) return samples;
  const groups = new Map();
  for (const sample of samples) {
    const group = Math.floor(sample.at / width_s);
    groups.set(group, [...(groups.get(group) ?? []), sample]);
  }
  return [...groups.values()].map((group) => ({
    at: group.at(-1).at,
    ...means(group, ["depth", "in_progress", "workers"]),
    tiers: means(group.map((sample) => sample.tiers), ["high", "normal", "low"]),
    rates: means(group.map((sample) => sample.rates), Object.keys(group[0].rates)),
    wait_s: spread(group.map((sample) => sample.wait_s)),
    run_s: spread(group.map((sample) => sample.run_s)),
  }));
}

function means(parts, names) {
  const mean = (name) => parts.reduce((sum, part) => sum + part[name], 0) / parts.length;
  return Object.fromEntries(names.map((name) => [name, mean(name)]));
}

// Of percentiles the worst, but for the middle: what was slow is not to be hidden.
function spread(spreads) {
  const known = spreads.filter(Boolean);
  if (known.length === 0) return null;
  const most = (name) => Math.max(...known.map((one) => one[name]));
  return { ...means(known, ["p50"]), p90: most("p90"), p99: most("p99") };
}
