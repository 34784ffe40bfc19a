// A value that changes, and that components follow.
import { useEffect, useState } from "./view.js";

export class Value {
  #now;
  #followers = new Set();

  constructor(first) {
    this.#now = first;
  }

  get() {
    return this.#now;
  }

  set(next) {
    if (Object.is(next, this.#now)) return;
    this.#now = next;
    for (const follower of [...this.#followers]) follower(next);
  }

  change(how) {
    this.set(how(this.#now));
  }

  follow(follower) {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }
}

// The value as it is; the component is drawn again whenever it changes.
export function useValue(value) {
  const [now, setNow] = useState(value.get());
  useEffect(() => {
    setNow(value.get());
    return value.follow(setNow);
  }, [value]);
  return now;
}
