// The pages: where they are, what they are called, and the key that leads to them.
import { Broker } from "./pages/broker.js";
import { DeadLetters } from "./pages/dead_letters.js";
import { Overview } from "./pages/overview.js";
import { Periodic } from "./pages/periodic.js";
import { Queue } from "./pages/queue.js";
import { Queues } from "./pages/queues.js";
import { SignIn } from "./pages/sign_in.js";
import { Task } from "./pages/task.js";
import { Tasks } from "./pages/tasks.js";
import { Welcome } from "./pages/welcome.js";
import { Worker } from "./pages/worker.js";
import { Workers } from "./pages/workers.js";

// In the order of the navigation, for those that have an icon.
export const ROUTES = [
  { path: "/", title: "Overview", key: "o", icon: "overview", page: Overview },
  { path: "/queues", title: "Queues", key: "q", icon: "queues", page: Queues },
  { path: "/queues/:name", title: "Queue", page: Queue },
  { path: "/tasks", title: "Tasks", key: "t", icon: "tasks", page: Tasks, count: (stats) => stats.depth },
  { path: "/tasks/:id", title: "Task", page: Task },
  { path: "/workers", title: "Workers", key: "w", icon: "workers", page: Workers, count: (stats) => stats.workers },
  { path: "/workers/:name", title: "Worker", page: Worker },
  { path: "/dead-letters", title: "Dead letters", key: "d", icon: "dead", page: DeadLetters, count: (stats) => stats.states.dead_letter },
  { path: "/periodic", title: "Periodic", key: "p", icon: "periodic", page: Periodic, count: (stats) => stats.periodics },
  { path: "/broker", title: "Broker", key: "b", icon: "broker", page: Broker },
  { path: "/welcome", title: "First steps", page: Welcome },
  { path: "/sign-in", title: "Sign in", page: SignIn, bare: true },
];
