// The configuration in force: each value with the layer that it comes from, and where it is changed.

import { h, show } from "../core/dom.js";
import { getWhole, send } from "../core/api.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { makePane } from "../core/pane.js";
import { notify } from "../core/notice.js";
import { may } from "../core/signin.js";

const SOURCES = {
  default: () => "default",
  system: ({ path }) => `system file ${path ?? ""}`,
  user: () => "config.yaml",
  project: ({ path }) => `project file ${path ?? ""}`,
  environment: ({ variable }) => `variable ${variable ?? ""}`,
};

// Open the part.
export function open(place) {
  const pane = makePane({
    title: "Configuration",
    kinds: ["config", "problem"],
    load: async ({ signal }) => {
      const { data, etag } = await getWhole("api/config", { explain: true }, { signal });
      return { config: data, etag };
    },
    draw: (body, value) => drawConfig(body, value, () => pane.document.reload()),
  });
  show(place, h("p", { class: "hint" }, "What a job gets when its workflow does not say. A value lies in the first of these that has it: a variable of the server, the project’s file, config.yaml, the system’s file, the default."), pane.node);
  return pane.close;
}

function drawConfig(place, { config, etag }, again) {
  const { explain, problems } = config;
  const rows = Object.entries(explain).map(([key, source]) => makeRow(key, readPath(config, key), source, etag, again));
  const head = ["Value", "Is", "From", ""].map((title) => h("th", { scope: "col" }, title || h("span", { class: "unseen" }, "Change")));
  show(
    place,
    problems.length > 0 && h("ul", { class: "items" }, problems.map(({ path, line, reason }) => h("li", null, h("span", null, h("span", { class: "mark failed", "aria-hidden": "true" }, "✗"), h("code", null, [path, line].filter(Boolean).join(":")), ` ${reason}`)))),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Values of the configuration" }, h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows))),
  );
}

// Return the value at a dotted path; names of variables may have dots of their own.
function readPath(config, path) {
  const [section, name, ...rest] = path.split(".");
  if (name === undefined) return config[section];
  const value = config[section]?.[name];
  return rest.length > 0 ? value?.[rest.join(".")] : value;
}

function writeValue(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function makeRow(key, value, source, etag, again) {
  const isFixed = source.source === "environment";
  const title = isFixed ? `${source.variable} is set where the server was started, and goes before all files` : may("admin") ? null : "This needs the scope admin";
  const change = h("button", { type: "button", class: "plain", disabled: isFixed || !may("admin"), title, "aria-label": `Change ${key}`, onclick: () => openChange(key, value, source, etag, again) }, "Change…");
  const from = SOURCES[source.source](source);
  return h("tr", null, h("th", { scope: "row" }, h("code", null, key)), h("td", null, h("code", null, writeValue(value))), h("td", { class: source.source === "default" ? "hint" : null }, from), h("td", null, change));
}

// Build the body that sets one value.
function buildBody(key, value) {
  const [section, name, ...rest] = key.split(".");
  if (name === undefined) return { [section]: value };
  return { [section]: { [name]: rest.length > 0 ? { [rest.join(".")]: value } : value } };
}

// Read what was typed as the kind of value that stands there: a number, a truth, a text or JSON.
function readTyped(text, before) {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const isPlain = typeof before === "string";
  if (isPlain) return trimmed;
  try {
    return JSON.parse(trimmed);
  } catch {
    return trimmed;
  }
}

function openChange(key, value, source, etag, again) {
  const typed = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const field = h("input", { name: key, value: typed, autocomplete: "off", spellcheck: "false" });
  const isOwn = source.source === "user";
  const makeBody = () => buildBody(key, readTyped(field.value, value));
  const save = async (body) => {
    await send("PUT", "api/config", body, { version: etag });
    dialog.close();
    notify(`${key} is changed in config.yaml`);
    again();
  };
  const remove = isOwn && h("button", { type: "button", onclick: () => save(buildBody(key, null)).catch((problem) => notify(`${key}: ${problem.message}`, { kind: "failed" })) }, "Remove from config.yaml");
  const form = makeForm([makeField(key, field, { hint: isOwn ? "From config.yaml" : `Now from ${SOURCES[source.source](source)}; it will stand in config.yaml` })], {
    label: "Save",
    extra: remove,
    describe: () => ({ method: "PUT", path: "api/config", body: makeBody() }),
    act: () => save(makeBody()),
  });
  const dialog = openDialog(`Change ${key}`, form);
  field.focus();
}
