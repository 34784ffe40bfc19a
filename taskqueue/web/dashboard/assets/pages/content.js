// Payloads and results: bytes, shown as what they are, the large ones only in part.
import { fileAddress } from "../kit/api.js";
import { Icon } from "../kit/icons.js";
import { Loading, Panel } from "../kit/parts.js";
import { html, useEffect, useMemo, useState } from "../kit/view.js";
import { bytes } from "../kit/words.js";

// As much of it as is shown, bytes; of what is no text, less.
const SHOWN = 48 * 1024;
const SHOWN_HEX = 1024;

// The bytes at a path of the API, in a panel.  `mark` asks for them anew when it changes.
export function Content({ title, path, mark }) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    setFound(null);
    begin(path, stop.signal).then(
      (some) => stop.signal.aborted || setFound(some),
      (error) => stop.signal.aborted || setFound({ trouble: error.message }),
    );
    return () => stop.abort();
  }, [path, mark]);
  const aside = found && !found.trouble && html`<span class="quiet">${kindOf(found)}, ${bytes(found.size)}</span>
    ${" "}<a href=${fileAddress(path)} download><${Icon} name="download" /> Download</a>`;
  return html`<${Panel} title=${title} aside=${aside}>${found === null ? html`<${Loading} />` : html`<${Shown} ...${found} />`}<//>`;
}

// The beginning of the bytes, and how many there are: the rest is not read.
async function begin(path, signal) {
  const response = await fetch(fileAddress(path), { signal });
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).detail ?? `${response.status}`);
  const reader = response.body.getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { data: joined(parts, length), size: length };
    parts.push(value);
    length += value.length;
    if (length > SHOWN) break;
  }
  await reader.cancel();
  const size = Number(response.headers.get("content-length")) || length;
  return { data: joined(parts, length).slice(0, SHOWN), size };
}

function joined(parts, length) {
  const all = new Uint8Array(length);
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}

// Text, where it is; the end of a part may be in the middle of a letter.
function textOf(data, whole) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data, { stream: !whole });
    return /[\0-\x08\x0e-\x1f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function kindOf({ data, size }) {
  if (size === 0) return "empty";
  const text = textOf(data, size === data.length);
  if (text === null) return "binary";
  return size === data.length && isJson(text) ? "JSON" : "text";
}

function Shown({ data, size, trouble }) {
  const whole = size === data?.length;
  const shown = useMemo(() => data && represented(data, whole), [data]);
  if (trouble) return html`<p class="quiet">${trouble}</p>`;
  if (size === 0) return html`<p class="quiet">No bytes at all.</p>`;
  return html`
    ${shown.parts
      ? html`<pre class="code" tabindex="0">${shown.parts}</pre>`
      : html`<pre class=${`code ${shown.hex ? "hex" : ""}`} tabindex="0">${shown.text}</pre>`}
    ${(!whole || shown.cut) && html`<p class="quiet">The first ${bytes(shown.cut ?? data.length)} of ${bytes(size)}.</p>`}
  `;
}

function represented(data, whole) {
  const text = textOf(data, whole);
  if (text === null) return { text: hexOf(data.slice(0, SHOWN_HEX)), hex: true, cut: data.length > SHOWN_HEX ? SHOWN_HEX : null };
  return whole && isJson(text) ? { parts: indented(text) } : { text };
}

// As `hexdump -C` writes it.
function hexOf(data) {
  const lines = [];
  for (let start = 0; start < data.length; start += 16) {
    const row = [...data.slice(start, start + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${start.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${letters}`);
  }
  return lines.join("\n");
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

// JSON with line breaks, told apart by colour.  It is never parsed for this: a large number
// stays what it is.
function indented(text) {
  const parts = [];
  let depth = 0;
  const tokens = text.match(TOKEN) ?? [];
  const line = () => parts.push("\n", "  ".repeat(depth));
  tokens.forEach((token, place) => {
    if (token === "{" || token === "[") {
      parts.push(token);
      depth += 1;
      if (!"}]".includes(tokens[place + 1])) line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (!"{[".includes(tokens[place - 1])) line();
      parts.push(token);
    } else if (token === ",") {
      parts.push(token);
      line();
    } else if (token === ":") parts.push(": ");
    else parts.push(html`<span class=${`json-${classOf(token, tokens[place + 1])}`}>${token}</span>`);
  });
  return parts;
}

function classOf(token, next) {
  if (!token.startsWith('"')) return "value";
  return next === ":" ? "name" : "text";
}
