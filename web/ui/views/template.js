// One template of scripts: its text under the editor, what it is, and a job from it.

import { h, show } from "../core/dom.js";
import { getWhole, request, send } from "../core/api.js";
import { makeButton } from "../core/action.js";
import { makeField } from "../core/dialog.js";
import { hearChanges } from "../core/live.js";
import { changeQuery, goTo, makeLink } from "../core/router.js";
import { notifyRefusal, showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { explainLack } from "../core/signin.js";
import { colourScript } from "../editor/colours.js";
import { makeTextDocument } from "../editor/document.js";
import { makeFileActs } from "../workflows/files.js";

const START = "#!/bin/bash\n#SBATCH --job-name={{ job_name }}\n#SBATCH --time=1:00:00\n\n{{ command }}\n";
const FACTS = [["description", "What it is"], ["use_case", "Good for"]];

// Open the view.
export function open(outlet, { params: { name }, query }) {
  const path = `api/templates/${encodeURIComponent(name)}`;
  const state = { version: null, isNew: query.has("new"), facts: {} };
  const lack = explainLack("write");
  const common = { maxlength: 500, autocomplete: "off", disabled: Boolean(lack), onchange: saveFact };
  const inputs = FACTS.map(([name, label]) => [name, label, h("input", { name, ...common })]);
  const facts = h("div", { class: "fields" }, inputs.map(([, label, input]) => makeField(label, input)));
  const readFacts = () => Object.fromEntries(inputs.map(([key, , input]) => [key, input.value]));
  const text = makeTextDocument({
    key: `templates/${name}`,
    title: `The template ${name}`,
    label: `Text of the template ${name}`,
    lack,
    initial: state.isNew ? START : null,
    colour: colourScript,
    load,
    save,
    describe: write,
    whenMissing: () => {
      const all = h("a", { href: makeLink(["workflows"]) }, "All workflows and templates");
      showEmpty(outlet, `There is no template ${name}. It may have been renamed or deleted.`, all);
    },
    whenChanged: ({ isUnsaved }) => setTitle(`${isUnsaved ? "● " : ""}${name}`),
  });
  const acts = makeFileActs({
    kind: "templates",
    name,
    where: {},
    text,
    copy: (other) => write(text.editor.getText(), null, other),
    remove: () => ({ method: "DELETE", path, version: state.version ?? undefined }),
  });
  const link = makeLink(["jobs"], { submit: `template=${encodeURIComponent(name)}` });
  const submit = makeButton("Submit a job…", () => goTo(link), { scope: "write", class: "main" });
  show(outlet, h("div", { class: "bar" }, h("h1", null, name), h("span", { class: "count" }, "Template"), submit, acts), facts, text.node);
  const stop = hearChanges(["template"], (changes) => {
    const own = changes.filter(({ id }) => id === name);
    if (own.length > 0) text.reload(own.at(-1).action === "deleted");
  }, () => text.reload());
  return () => {
    stop();
    text.close();
  };

  async function load(isThere) {
    if (state.isNew && !isThere) return { text: "", version: null };
    const { data, etag } = await getWhole(path);
    state.version = etag;
    for (const [key, , input] of inputs) input.value = data[key];
    const isBuiltIn = name === "base";
    for (const button of isBuiltIn ? acts.slice(1) : []) button.hidden = true;
    facts.hidden = isBuiltIn;
    return { text: data.content, version: etag, lack: isBuiltIn ? "This one is built in; a copy can be changed" : null };
  }

  function write(content, version, other = name) {
    if (version === null) return { method: "POST", path: "api/templates", body: { name: other, content, ...readFacts() } };
    return { method: "PUT", path, body: { content }, version };
  }

  async function save(content, version) {
    const { method, path: to, ...options } = write(content, version);
    await request(method, to, options);
    if (state.isNew) changeQuery({ new: "" });
    state.isNew = false;
    state.version = (await getWhole(path)).etag;
    return state.version;
  }

  async function saveFact() {
    if (state.isNew) return; // they go with the text
    try {
      await send("PUT", path, readFacts());
    } catch (problem) {
      notifyRefusal(`${name} is not changed`, problem);
    }
  }
}
