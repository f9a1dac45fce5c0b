// The filter of jobs: typed in the server's language, completed, and judged by the server alone.

import { h, setText, debounce } from "../core/dom.js";
import { get } from "../core/api.js";
import { changeQuery } from "../core/router.js";
import { makeCompletion } from "./completion.js";

const SOON_MS = 15; // after a key, for a term that is whole
const LATER_MS = 700; // for one that is not: somebody may be typing it
const AMONG = 200; // so many jobs may be asked for at once

// Make the box of the filter.
//
//   text         what stands in it first
//   whenFound    (Set of ids or null for all) once the server has judged; rows stay until then
//   getScope     the other parameters of the list
//
// Returns { node, field, text, judge(ids): which of them belong to the list, clear, ask }.
export function makeJobFilter({ text, whenFound, getScope }) {
  const field = h("input", { type: "search", value: text, placeholder: "Filter, such as state=RUNNING and memory>=4G", "aria-label": "Filter", class: "filter", title: "Searches all jobs of the list" });
  const problem = h("p", { class: "refusal", role: "status" });
  const filter = { field, node: null, accepted: text.trim(), ids: null };
  let fields = [];
  let abort = null;
  get("api/v1/jobs/filter-fields").then((answer) => (fields = answer.fields), () => {}); // without it there is no completion

  async function ask() {
    const asked = field.value.trim();
    abort?.abort();
    abort = new AbortController();
    const { signal } = abort;
    if (asked === "") {
      setText(problem, "");
      Object.assign(filter, { accepted: "", ids: null });
      changeQuery({ filter: "" });
      whenFound(null);
      return;
    }
    try {
      const { job_ids, problem: wrong } = await get("api/v1/jobs/ids", { ...getScope(), filter: asked, check: true }, { signal });
      if (signal.aborted) return;
      setText(problem, wrong ?? "");
      if (wrong) return;
      Object.assign(filter, { accepted: asked, ids: new Set(job_ids) });
      changeQuery({ filter: asked });
      whenFound(filter.ids);
    } catch (refused) {
      if (signal.aborted) return;
      setText(problem, refused.message);
    }
  }

  // Ask which of the jobs that changed belong to the list now.
  async function judge(ids) {
    if (filter.ids === null || ids.length === 0) return;
    if (ids.length > AMONG) return await ask();
    const known = filter.ids;
    try {
      const { job_ids } = await get("api/v1/jobs/ids", { ...getScope(), filter: filter.accepted, among: ids.join(",") });
      if (filter.ids !== known) return; // another filter holds by now
      for (const id of ids) known.delete(id);
      for (const id of job_ids) known.add(id);
      whenFound(known);
    } catch {
      // What is shown stays; the next change asks again.
    }
  }

  const askSoon = debounce(ask, SOON_MS);
  const askLater = debounce(ask, LATER_MS);
  field.addEventListener("input", () => {
    const isWhole = isWholeFilter(field.value, fields);
    (isWhole ? askSoon : askLater)();
  });
  field.addEventListener("keydown", (event) => event.key === "Enter" && !event.defaultPrevented && ask());
  const completion = makeCompletion(field, (before) => findChoices(before, fields));
  filter.node = h("div", { class: "filter-box", role: "search" }, completion.node, problem);
  return Object.assign(filter, {
    ask,
    judge,
    clear: () => {
      field.value = "";
      ask();
      field.focus();
    },
  });
}

const LAST = /(?:^|[\s(])(?:and\s+)?([\w]*)$/i;
const OPERATOR = /([A-Za-z_]\w*)\s*(=~|!~|!=|>=|<=|=|~|>|<|\snot\s+in\s*\(?|\sin\s*\(?)\s*((?:[^\s"',()]+\s*,\s*)*)("?[^\s"',()]*)$/i;

// Whether the last term has a value, so that asking makes sense at once.
function isWholeFilter(text, fields) {
  const trimmed = text.trim();
  return trimmed === "" || fields.length === 0 || (OPERATOR.exec(trimmed)?.[4] ?? "") !== "" || /["')]$/.test(trimmed);
}

const findField = (fields, word) => fields.find(({ name, aliases }) => name === word.toLowerCase() || aliases.includes(word.toLowerCase()));

// Find what may follow a text: a field, an operator, a value. The words are the server's.
function findChoices(before, fields) {
  const term = OPERATOR.exec(before);
  if (term) return findValues(before, term, fields);
  const named = /([A-Za-z_]\w*)\s+(\S{0,3})$/.exec(before);
  const known = named && findField(fields, named[1]);
  if (known) return { from: before.length - named[2].length, choices: listOperators(known, named[2]) };
  const word = LAST.exec(before)?.[1] ?? "";
  if (word === "" && before.trim() !== "" && !/(\s|and)\s*$/i.test(before)) return { from: 0, choices: [] };
  const from = before.length - word.length;
  const exact = word && findField(fields, word);
  if (exact) return { from: before.length, choices: listOperators(exact, "") };
  const start = word.toLowerCase();
  const fits = fields.filter(({ name, aliases }) => name.includes(start) || aliases.some((alias) => alias.startsWith(start)));
  const choices = fits.map(({ name, kind, example }) => ({ text: name, hint: `${kind}, such as ${example}` }));
  if (fits.length === 0 && word.length > 1) choices.push({ text: `job_name~${word}`, hint: "the name contains it" });
  return { from, choices };
}

const MEANINGS = { "=": "is", "!=": "is not", ">": "more than", "<": "less than", ">=": "at least", "<=": "at most", "~": "contains", "!~": "does not contain", "=~": "fits the regular expression", in: "is one of", "not in": "is none of" };

function listOperators({ operators }, begun) {
  return operators
    .filter((sign) => sign.startsWith(begun.trim()))
    .map((sign) => ({ label: sign, text: /^[a-z]/.test(sign) ? `${begun === "" ? " " : ""}${sign} (` : sign, hint: MEANINGS[sign] }));
}

function findValues(before, [, word, , , begun], fields) {
  const field = findField(fields, word);
  const typed = begun.replace(/^"/, "").toLowerCase();
  const values = (field?.values ?? []).filter((value) => value.toLowerCase().includes(typed) && value.toLowerCase() !== typed);
  const from = before.length - begun.length;
  if (values.length === 0 && typed === "" && field?.example) return { from, choices: [{ text: String(field.example), hint: "for example" }] };
  return { from, choices: values.map((value) => ({ text: /[\s"',()]/.test(value) ? JSON.stringify(value) : value })) };
}
