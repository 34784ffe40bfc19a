// Signing in: with a name and a password, or with a key.
import { Problem, post } from "../kit/api.js";
import { go } from "../kit/router.js";
import { broker, recognise } from "../kit/session.js";
import { html, useEffect, useRef, useState } from "../kit/view.js";
import { duration } from "../kit/words.js";

// Only to a page of this dashboard: an address may come from anybody.
function destination() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  return next.startsWith("/") && new URL(next, location.origin).origin === location.origin ? next : "/";
}

export function SignIn() {
  const [byKey, setByKey] = useState(false);
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);
  const first = useRef(null);
  useEffect(() => first.current?.focus(), [byKey]);
  useEffect(() => {
    // Who may come in already need not stay here.
    recognise({ stay: true }).then((who) => who && go(destination(), { replace: true }), () => {});
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    setBusy(true);
    setTrouble("");
    try {
      await post("/session", Object.fromEntries(new FormData(form)), { stay: true });
      await recognise({ stay: true });
      go(destination(), { replace: true });
    } catch (error) {
      setTrouble(said(error, byKey));
      const { password, key } = form.elements;
      (password ?? key).select();
    } finally {
      setBusy(false);
    }
  };
  const name = html`<label>Name<input ref=${first} name="name" autocomplete="username" required /></label>
    <label>Password<input name="password" type="password" autocomplete="current-password" required /></label>`;
  const key = html`<label>Key<input
    ref=${first}
    name="key"
    type="password"
    autocomplete="off"
    spellcheck="false"
    required
  /></label>`;
  return html`<form class="sign-in panel" onSubmit=${submit}>
    <h1 tabindex="-1">Sign in to ${broker.name}</h1>
    ${byKey ? key : name}
    <p class="trouble" role="alert">${trouble}</p>
    <button type="submit" class="button primary" disabled=${busy}>${busy ? "Signing in …" : "Sign in"}</button>
    <button type="button" class="bare link" onClick=${() => (setByKey(!byKey), setTrouble(""))}>
      ${byKey ? "Sign in with a name and a password" : "Sign in with a key"}
    </button>
  </form>`;
}

function said(error, byKey) {
  if (!(error instanceof Problem)) return "The broker does not answer. Try again.";
  if (error.status === 401) return byKey ? "This key is not known here." : "Name or password is wrong.";
  if (error.status === 429) return `That was too often. Try again in ${duration(error.retryAfterS ?? 60)}.`;
  return error.message;
}
