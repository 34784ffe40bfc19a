// Small pictures, drawn with lines of the colour of the text around them.
import { html } from "./view.js";

const PATHS = {
  overview: "M3 13.5 8 8l4 4 7-8M3 20h18",
  queues: "M4 6h16M4 12h16M4 18h10",
  tasks: "M9 6h11M9 12h11M9 18h11M4 6l.8.8L6.5 5M4 12l.8.8L6.5 11M4 18l.8.8L6.5 17",
  workers: "M6 6h12v12H6zM9 2v4M15 2v4M9 18v4M15 18v4M2 9h4M2 15h4M18 9h4M18 15h4",
  dead: "M12 8v5M12 16.5v.5M10.3 3.9 2.4 18a2 2 0 0 0 1.7 3h15.8a2 2 0 0 0 1.7-3L13.7 3.9a2 2 0 0 0-3.4 0z",
  periodic: "M20 12a8 8 0 1 1-2.5-5.8M20 3v4h-4M12 8v4l3 2",
  broker: "M4 4h16v6H4zM4 14h16v6H4zM8 7v.01M8 17v.01",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  auto: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  help: "M9.2 9a3 3 0 1 1 4.3 2.7c-1 .5-1.5 1-1.5 2.3M12 17.5v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5 10 17.5 19 7",
  up: "M7 14l5-5 5 5",
  down: "M7 10l5 5 5-5",
  next: "M10 6l6 6-6 6",
  back: "M14 6l-6 6 6 6",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  out: "M14 4h6v16h-6M10 8l-4 4 4 4M6 12h9",
  // states
  pending: "M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14z",
  scheduled: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l2.5 2",
  blocked: "M7 11h10v9H7zM9 11V8a3 3 0 0 1 6 0v3",
  in_progress: "M8 5l10 7-10 7z",
  failed: "M19 12a7 7 0 1 1-2-5M19 3v4.5h-4.5",
  completed: "M5 12.5 10 17.5 19 7",
  dead_letter: "M6 6l12 12M18 6 6 18",
  cancelled: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM6.5 6.5l11 11",
  expired: "M7 3h10M7 21h10M8 3c0 5 8 7 8 18M16 3c0 5-8 7-8 18",
};

// A picture beside a word; alone it needs a `label`.
export function Icon({ name, label }) {
  return html`<svg
    class="icon"
    viewBox="0 0 24 24"
    role=${label ? "img" : null}
    aria-label=${label}
    aria-hidden=${label ? null : "true"}
    focusable="false"
  >
    <path d=${PATHS[name] ?? PATHS.pending} />
  </svg>`;
}
