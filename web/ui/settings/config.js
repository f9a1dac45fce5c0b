// The configuration in force: each value with the layer that it comes from, and where it is changed.

import { h, show } from "../core/dom.js";
import { getWhole, send } from "../core/api.js";
import { makeButton } from "../core/action.js";
import { openForm } from "../core/dialog.js";
import { makeMark } from "../core/marks.js";
import { makePane, makePlainTable, showPanes } from "../core/pane.js";
import { notify, notifyRefusal } from "../core/notice.js";

const SOURCES = {
  default: () => "default",
  system: ({ path }) => `system file ${path ?? ""}`,
  user: () => "config.yaml",
  project: ({ path }) => `project file ${path ?? ""}`,
  environment: ({ variable }) => `variable ${variable ?? ""}`,
};
const ORDER =
  "What a job gets where its workflow says nothing. A value may stand in several places, and the first of these counts: " +
  "variables of the server, the project’s file, config.yaml, the system’s file, the default.";

// Open the part.
export function open(place) {
  const pane = makePane({
    title: "Configuration",
    kinds: ["config", "problem"],
    load: async ({ signal }) => {
      const { data, etag } = await getWhole("api/config", { explain: true }, { signal });
      return { config: data, etag };
    },
    draw: drawConfig,
  });
  return showPanes(place, h("p", { class: "hint" }, ORDER), [pane]);
}

function drawConfig(place, { config, etag }) {
  const { explain, problems } = config;
  const rows = Object.entries(explain).map(([key, source]) => {
    const value = readPath(config, key);
    const from = SOURCES[source.source](source);
    const isFixed = source.source === "environment";
    const change = makeButton("Change…", () => openChange(key, value, source, etag), {
      scope: "admin",
      class: "plain",
      disabled: isFixed,
      title: isFixed ? `${source.variable} is set where the server was started, and goes before all files` : null,
      "aria-label": `Change ${key}`,
    });
    const hint = source.source === "default" ? "hint" : null;
    const name = key.split(".").flatMap((part, at) => (at > 0 ? [".", h("wbr"), part] : part)); // it may break there
    return [h("code", null, name), h("code", null, writeValue(value) || "–"), h("span", { class: hint }, from), change];
  });
  const columns = ["Name", "Value", "From", h("span", { class: "unseen" }, "Change")];
  const table = makePlainTable("Values of the configuration", columns, rows);
  show(place, problems.length > 0 && h("ul", { class: "items" }, problems.map(makeProblem)), table);
}

function makeProblem({ path, line, reason }) {
  return h("li", null, h("span", null, makeMark("failed"), h("code", null, [path, line].filter(Boolean).join(":")), ` ${reason}`));
}

// Part a dotted path: names of variables, which come third, may have dots of their own.
const splitPath = (path) => /^([^.]+)(?:\.([^.]+)(?:\.(.+))?)?$/.exec(path).slice(1).filter(Boolean);

const readPath = (config, path) => splitPath(path).reduce((value, name) => value?.[name], config);

// Build the body that sets one value.
const buildBody = (path, value) => splitPath(path).reduceRight((body, name) => ({ [name]: body }), value);

function writeValue(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// Read what was typed as the kind of value that stands there: a number, a truth, a text or JSON.
function readTyped(text, before) {
  if (text === undefined || typeof before === "string") return text ?? null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function openChange(key, value, source, etag) {
  const isOwn = source.source === "user";
  const done = () => notify(`${key} is changed in config.yaml`);
  const makeCall = (next) => ({ method: "PUT", path: "api/config", body: buildBody(key, next) });
  const remove = async () => {
    const { method, path, body } = makeCall(null);
    try {
      await send(method, path, body, { version: etag });
      dialog.close();
      done();
    } catch (problem) {
      notifyRefusal(key, problem);
    }
  };
  const hint = isOwn ? "From config.yaml" : `Now from ${SOURCES[source.source](source)}; it will stand in config.yaml`;
  const dialog = openForm(`Change ${key}`, [[key, key, hint, { value: writeValue(value) }]], {
    label: "Save",
    extra: isOwn && makeButton("Remove from config.yaml", remove),
    version: etag,
    call: (values) => makeCall(readTyped(values[key], value)),
    done,
  });
}
