// Who looks on, and what they may do.
import { get, remove, Problem } from "./api.js";
import { Value, useValue } from "./value.js";

// What everybody may who does not need to sign in.
const OPEN = { name: "", kind: "everyone", role: null, permissions: ["admin"], open: true, warning: null };

// The broker as the document tells of it.
export const broker = {
  name: document.documentElement.dataset.broker,
  version: document.documentElement.dataset.version,
  readOnly: document.documentElement.dataset.api === "read",
};

// undefined until it is known
export const session = new Value(undefined);

// Ask who this is; to the page for signing in where the broker wants to know.
export async function recognise({ stay = false } = {}) {
  try {
    session.set(await get("/session", { stay }));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    session.set(error.status === 401 ? null : OPEN);
  }
  return session.get();
}

export async function signOut() {
  await remove("/session", { stay: true });
  session.set(null);
}

// Whether a permission such as "cancel" or "cancel:mail-*" covers an action on a queue.
function covers(permission, action, queue) {
  const [allowed, pattern = "*"] = permission.split(/:(.*)/s);
  if (allowed === "admin" || allowed === "*") return true;
  if (allowed !== action) return false;
  if (pattern === "*") return true;
  if (queue === undefined) return false;
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`, "s").test(queue);
}

// Why an action ("cancel", "admin", …) is not to be had, as a sentence; null where it is.
// Without a queue it is asked for everywhere.
export function denial(action, queue) {
  if (broker.readOnly) return "Nothing can be changed over HTTP here: [http] api is read.";
  const who = session.get();
  if (!who || who.permissions.some((one) => covers(one, action, queue))) return null;
  const where = queue === undefined ? "" : ` in ${queue}`;
  return `${who.name || "You"} may not do this: it needs the permission ${action}${where}.`;
}

// The same, in a component.
export function useDenial(action, queue) {
  useValue(session);
  return denial(action, queue);
}
