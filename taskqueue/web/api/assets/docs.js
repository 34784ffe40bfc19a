"use strict";

// Shows the OpenAPI document that stands beside this page.  Whatever comes out of it is
// put in as text, never as markup.

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function resolve(schema, api) {
  const name = schema.$ref?.split("/").pop();
  return name ? { ...api.components.schemas[name], title: name } : schema;
}

// A schema in one line: "integer, 0 to 255".
function brief(schema, api) {
  const one = resolve(schema, api);
  if (one.title) return one.title;
  const parts = [];
  if (one.anyOf) return one.anyOf.map((other) => brief(other, api)).join(" or ");
  if (one.enum) return one.enum.map(String).join(" | ");
  if (one.type === "array") parts.push(`list of ${brief(one.items ?? {}, api)}`);
  else parts.push([one.type ?? "any"].flat().join(" or "));
  if (one.format) parts.push(one.format);
  if (one.minimum !== undefined && one.maximum !== undefined) {
    parts.push(`${one.minimum} to ${one.maximum}`);
  }
  if (one.maxLength !== undefined) parts.push(`at most ${one.maxLength} characters`);
  if (one.maxItems !== undefined) parts.push(`at most ${one.maxItems}`);
  if (one.additionalProperties?.type) parts.push(`of ${brief(one.additionalProperties, api)}`);
  return parts.join(", ");
}

// A schema as something like the JSON that it stands for.
function sketch(schema, api, depth = 0) {
  const one = resolve(schema, api);
  if (depth > 5) return "…";
  if (one.properties) {
    return Object.fromEntries(
      Object.entries(one.properties).map(([name, inner]) => [
        one.required?.includes(name) ? name : `${name}?`,
        sketch(inner, api, depth + 1),
      ]),
    );
  }
  if (one.type === "array") return [sketch(one.items ?? {}, api, depth + 1)];
  return brief({ ...one, title: undefined }, api);
}

function example(schema, api) {
  return element("pre", { textContent: JSON.stringify(sketch(schema, api), null, 2), tabIndex: 0 });
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", textContent: text })));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function parameters(operation, api) {
  const given = operation.parameters ?? [];
  if (!given.length) return null;
  const rows = given.map((one) => [
    element("code", { textContent: one.name }),
    one.in,
    one.required ? element("span", { className: "needed", textContent: "needed" }) : "",
    brief(one.schema, api),
  ]);
  return element("div", {}, element("h3", { textContent: "Parameters" }), table(["name", "in", "", "value"], rows));
}

function requestBody(operation, api) {
  const body = operation.requestBody;
  if (!body) return null;
  const title = body.required ? "Body" : "Body (may be left out)";
  const schema = body.content["application/json"].schema;
  return element("div", {}, element("h3", { textContent: title }), example(schema, api));
}

function answers(operation, api) {
  const made = element("div", {}, element("h3", { textContent: "Answers" }));
  const rows = Object.entries(operation.responses).map(([status, answer]) => [
    element("code", { textContent: status }),
    answer.description,
    Object.keys(answer.content ?? {}).join(", "),
  ]);
  made.append(table(["status", "meaning", "as"], rows));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const schema = answer.content?.["application/json"]?.schema;
    if (schema) made.append(element("h3", { textContent: status }), example(schema, api));
  }
  return made;
}

function operationOf(path, method, operation, api) {
  const summary = element(
    "summary",
    {},
    element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
    element("span", { className: "path", textContent: path }),
    element("span", { className: "what", textContent: operation.summary }),
  );
  const made = element("details", { id: operation.operationId }, summary);
  made.dataset.words = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
  // What nobody looks at is not made.
  made.addEventListener(
    "toggle",
    () => {
      made.append(
        element(
          "div",
          { className: "inside" },
          element("p", { textContent: operation.description }),
          parameters(operation, api),
          requestBody(operation, api),
          answers(operation, api),
        ),
      );
    },
    { once: true },
  );
  return made;
}

function show(api) {
  const content = document.getElementById("content");
  const chapters = document.getElementById("chapters");
  document.getElementById("about").replaceChildren(
    `Version ${api.info.version}. ${api.info.description} `,
    element("a", { href: "openapi.json", textContent: "The document for programs" }),
  );
  for (const { name } of api.tags) {
    const id = name.toLowerCase().replaceAll(" ", "-");
    const chapter = element("section", { id }, element("h2", { textContent: name }));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] === name) {
          chapter.append(operationOf(api.servers[0].url + path, method, operation, api));
        }
      }
    }
    content.append(chapter);
    chapters.append(element("li", {}, element("a", { href: `#${id}`, textContent: name })));
  }
}

function open(id) {
  const found = document.getElementById(decodeURIComponent(id.replace("#", "")));
  if (found instanceof HTMLDetailsElement) found.open = true;
  found?.scrollIntoView();
}

function filter(event) {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of document.querySelectorAll("main details")) {
    one.hidden = !words.every((word) => one.dataset.words.includes(word));
  }
  for (const chapter of document.querySelectorAll("main section")) {
    chapter.hidden = !chapter.querySelector("details:not([hidden])");
  }
}

document.getElementById("filter").addEventListener("input", filter);
window.addEventListener("hashchange", () => open(location.hash));

fetch("openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then((api) => {
    show(api);
    if (location.hash) open(location.hash);
  })
  .catch((error) => {
    document.getElementById("about").textContent = `The document cannot be loaded: ${error.message}`;
  });
