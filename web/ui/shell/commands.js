// One box for search and commands: keyboard first. What is typed looks for views, commands, and everything the server knows.

import { debounce, h, makeId, setAttribute, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { goTo, makeLink } from "../core/router.js";
import { openDialog } from "../core/dialog.js";
import { chooseZone, ZONES } from "../core/format.js";
import { may, me, signOut } from "../core/signin.js";

const WAIT_MS = 120;
const MOST_FOUND = 30;
const PLACES = { job: "jobs", node: "nodes", partition: "partitions", workflow: "workflows", run: "runs", sweep: "sweeps" };
const SETTINGS = ["config", "profiles", "access", "notifications", "page", "about"];

// List what can be done: { title, hint, act, scope }.
function listCommands(more) {
  return [
    ...more,
    ...SETTINGS.map((part) => ({ title: `Settings: ${part}`, hint: "view", act: () => goTo(makeLink(["settings", part])) })),
    { title: "Submit a job…", hint: "command", scope: "write", act: () => goTo(makeLink(["jobs"], { submit: "new" })) },
    { title: "New workflow…", hint: "command", scope: "write", act: () => goTo(makeLink(["workflows"], { new: "yes" })) },
    { title: "Jobs that failed", hint: "view", act: () => goTo(makeLink(["jobs"], { filter: "state=FAILED" })) },
    ...Object.entries(ZONES).map(([zone, words]) => ({ title: `Times: ${words}`, hint: "command", act: () => chooseZone(zone) })),
    ...(me.session?.has_session ? [{ title: "Sign out", hint: "command", act: signOut }] : []),
  ].filter(({ scope }) => !scope || may(scope));
}

// Return the address of something that the search found.
function findAddress({ type, id, title }) {
  if (type === "user") return makeLink(["jobs"], { filter: `user=${id}` });
  return PLACES[type] ? makeLink([PLACES[type], type === "workflow" ? (id ?? title) : id]) : null;
}

const fitsWords = (title, words) => words.every((word) => title.toLowerCase().includes(word));

// Open the box; `more` are commands that only the caller knows.
export function openCommands(more = []) {
  if (document.querySelector("dialog.commands")) return;
  const listId = makeId("found");
  const controls = { role: "combobox", "aria-expanded": "true", "aria-controls": listId, "aria-autocomplete": "list" };
  const placeholder = "Search jobs, nodes, users, workflows, runs – or do something";
  const typing = { autocomplete: "off", spellcheck: "false", autofocus: true };
  const field = h("input", { type: "search", ...controls, "aria-label": "Search or command", placeholder, ...typing });
  const list = h("ul", { role: "listbox", id: listId, "aria-label": "Found" });
  const words = h("p", { class: "hint", role: "status" });
  const commands = listCommands(more);
  let [options, chosen, abort, found, foundFor] = [[], 0, null, [], ""];

  const dialog = openDialog("Search and commands", [field, list, words], { whenClosed: () => abort?.abort() });
  dialog.node.classList.add("commands");
  field.focus();

  function draw(note = "") {
    const typed = field.value.trim().toLowerCase();
    const own = commands.filter(({ title }) => fitsWords(title, typed.split(/\s+/)));
    options = typed ? [...found, ...own] : own;
    chosen = Math.min(chosen, Math.max(0, options.length - 1));
    show(list, options.map(makeOption));
    show(words, note || (options.length === 0 ? `Nothing fits “${field.value.trim()}”.` : ""));
    mark();
  }

  function makeOption({ title, hint, detail }, at) {
    const words = [h("span", { class: "kind hint" }, hint), h("span", { class: "title" }, title), detail && h("span", { class: "hint" }, detail)];
    return h("li", { role: "option", id: `${listId}-${at}`, onclick: () => take(at), onpointermove: () => point(at) }, words);
  }

  function point(at) {
    if (at === chosen) return;
    chosen = at;
    mark();
  }

  function mark() {
    for (const [at, node] of [...list.children].entries()) setAttribute(node, "aria-selected", String(at === chosen));
    setAttribute(field, "aria-activedescendant", options.length > 0 ? `${listId}-${chosen}` : null);
    list.children[chosen]?.scrollIntoView({ block: "nearest" });
  }

  function take(at) {
    const option = options[at];
    if (!option) return;
    dialog.close();
    option.act();
  }

  const search = debounce(async () => {
    const asked = field.value.trim();
    abort?.abort();
    if (!asked) return;
    abort = new AbortController();
    const { signal } = abort;
    try {
      const answer = await get("api/v1/search", { q: asked.split(/\s+/).slice(0, 10).join(" "), limit: MOST_FOUND }, { signal });
      if (signal.aborted) return;
      found = answer.results.filter(findAddress).map((row) => ({
        title: row.title === row.id ? row.id : `${row.title} (${row.id})`,
        hint: row.type,
        detail: row.description,
        act: () => goTo(findAddress(row)),
      }));
      foundFor = asked;
      draw();
    } catch (problem) {
      if (!signal.aborted) draw(`The search gave no answer: ${problem.message}`);
    }
  }, WAIT_MS);

  field.addEventListener("input", () => {
    if (!field.value.trim().startsWith(foundFor) || !field.value.trim()) found = [];
    chosen = 0;
    draw(field.value.trim() ? "Searching…" : "");
    search();
  });
  field.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    const step = steps[event.key];
    if (event.key === "Enter") {
      event.preventDefault();
      take(chosen);
    } else if (step && options.length > 0) {
      event.preventDefault();
      const isStep = Math.abs(step) === 1;
      chosen = isStep ? (chosen + step + options.length) % options.length : Math.min(options.length - 1, Math.max(0, chosen + step));
      mark();
    }
  });
  draw();
}
