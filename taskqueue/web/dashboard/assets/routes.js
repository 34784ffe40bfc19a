// The pages: where they are, what they are called, and the key that leads to them.
import { DeadLetters } from "./pages/dead_letters.js";
import { Overview } from "./pages/overview.js";
import { SignIn } from "./pages/sign_in.js";
import { Welcome } from "./pages/welcome.js";
import { Worker } from "./pages/worker.js";
import { Workers } from "./pages/workers.js";

// In the order of the navigation, for those that have an icon.
export const ROUTES = [
  { path: "/", title: "Overview", key: "o", icon: "overview", page: Overview },
  { path: "/workers", title: "Workers", key: "w", icon: "workers", page: Workers, count: (stats) => stats.workers },
  { path: "/workers/:name", title: "Worker", page: Worker },
  { path: "/dead-letters", title: "Dead letters", key: "d", icon: "dead", page: DeadLetters, count: (stats) => stats.states.dead_letter },
  { path: "/welcome", title: "First steps", page: Welcome },
  { path: "/sign-in", title: "Sign in", page: SignIn, bare: true },
];
