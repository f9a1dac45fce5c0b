// The filter of jobs: typed in the server's language, completed, and judged by the server alone.

import { h, setText, debounce } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeOffer } from "../parts/offer.js";
import { changeQuery } from "../core/router.js";

const LATER_MS = 700; // after a key: then what is wrong is told, and half a term is asked too
const AMONG = 200; // so many jobs may be asked for at once

// Make the box of the filter.
//
//   text         what stands in it first
//   whenFound    (Set of ids or null for all) once the server has judged; rows stay until then
//   getScope     the other parameters of the list
//
// Returns { node, field, accepted (what holds), judge(ids): which of them belong to the list, clear, ask }.
export function makeJobFilter({ text, whenFound, getScope }) {
  const field = h("input", {
    type: "search", role: "combobox", class: "filter", "aria-label": "Filter", title: "Searches all jobs of the list",
    placeholder: "Filter, such as state=RUNNING and memory>=4G", value: text,
  });
  const problem = h("p", { class: "refusal", role: "status" });
  let known = null; // the ids that the server named
  let fields = [];
  let abort = null;
  get("api/v1/jobs/filter-fields").then((answer) => (fields = answer.fields), () => {}); // without it there is no completion

  // Ask for the jobs that fit what is typed; of half a filter nothing is told while somebody types.
  async function ask({ isTyping = false } = {}) {
    const asked = field.value.trim();
    abort?.abort();
    abort = new AbortController();
    const { signal } = abort;
    try {
      const found = asked && (await get("api/v1/jobs/ids", { ...getScope(), filter: asked, check: true }, { signal }));
      if (signal.aborted) return;
      if (!isTyping) setText(problem, found.problem);
      if (found.problem) return;
      filter.accepted = asked;
      known = asked ? new Set(found.job_ids) : null;
      whenFound(known);
      changeQuery({ filter: asked });
    } catch (refused) {
      if (!signal.aborted) setText(problem, refused.message);
    }
  }

  // Ask which of the jobs that changed belong to the list now.
  async function judge(ids) {
    if (known === null || ids.length === 0) return;
    if (ids.length > AMONG) return await ask();
    const judged = known;
    try {
      const { job_ids } = await get("api/v1/jobs/ids", { ...getScope(), filter: filter.accepted, among: ids.join(",") });
      if (known !== judged) return; // another filter holds by now
      for (const id of ids) known.delete(id);
      for (const id of job_ids) known.add(id);
      whenFound(known);
    } catch {
      // What is shown stays; the next change asks again.
    }
  }

  const askLater = debounce(() => field.value.trim() === filter.accepted || ask(), LATER_MS);
  const offer = makeOffer({ field, complete: (typed, caret) => findChoices(typed.slice(0, caret), fields), first: -1 });
  field.addEventListener("input", () => {
    setText(problem, "");
    if (isWholeFilter(field.value, fields)) ask({ isTyping: true });
    askLater();
    offer.open();
  });
  for (const kind of ["click", "focus"]) field.addEventListener(kind, offer.open);
  field.addEventListener("keydown", (event) => {
    if (!offer.press(event) && event.key === "ArrowDown") offer.open();
    else if (event.key === "Enter" && !event.defaultPrevented) ask();
  });
  const filter = {
    node: h("div", { class: "filter-box", role: "search" }, field, offer.list, problem),
    field,
    accepted: text.trim(),
    ask,
    judge,
    clear: () => {
      field.value = "";
      ask();
      field.focus();
    },
  };
  return filter;
}

const LAST = /(?:^|[\s(])(?:and\s+)?([\w]*)$/i;
const OPERATOR = /([A-Za-z_]\w*)\s*(=~|!~|!=|>=|<=|=|~|>|<|\snot\s+in\s*\(?|\sin\s*\(?)\s*((?:[^\s"',()]+\s*,\s*)*)("?[^\s"',()]*)$/i;

// Whether the last term has a value, so that asking makes sense at once.
function isWholeFilter(text, fields) {
  const trimmed = text.trim();
  return trimmed === "" || fields.length === 0 || (OPERATOR.exec(trimmed)?.[4] ?? "") !== "" || /["')]$/.test(trimmed);
}

const makeItem = (label, detail, insert = label) => ({ label, detail, insert });
const findField = (fields, word) => fields.find(({ name, aliases }) => name === word.toLowerCase() || aliases.includes(word.toLowerCase()));

// Find what may follow a text: a field, an operator, a value. The words are the server's.
function findChoices(before, fields) {
  const term = OPERATOR.exec(before);
  if (term) return findValues(before, term, fields);
  const named = /([A-Za-z_]\w*)\s+(\S{0,3})$/.exec(before);
  const known = named && findField(fields, named[1]);
  if (known) return { from: before.length - named[2].length, items: listOperators(known, named[2]) };
  const word = LAST.exec(before)?.[1] ?? "";
  if (word === "" && before.trim() !== "" && !/(\s|and)\s*$/i.test(before)) return null;
  const from = before.length - word.length;
  const exact = word && findField(fields, word);
  if (exact) return { from: before.length, items: listOperators(exact, "") };
  const start = word.toLowerCase();
  const fits = fields.filter(({ name, aliases }) => name.includes(start) || aliases.some((alias) => alias.startsWith(start)));
  const items = fits.map(({ name, kind, example }) => makeItem(name, `${kind}, such as ${example}`));
  if (fits.length === 0 && word.length > 1) items.push(makeItem(`job_name~${word}`, "the name contains it"));
  return { from, items };
}

const MEANINGS = {
  "=": "is", "!=": "is not", ">": "more than", "<": "less than", ">=": "at least", "<=": "at most", "~": "contains",
  "!~": "does not contain", "=~": "fits the regular expression", in: "is one of", "not in": "is none of",
};

function listOperators({ operators }, begun) {
  return operators
    .filter((sign) => sign.startsWith(begun.trim()))
    .map((sign) => makeItem(sign, MEANINGS[sign], /^[a-z]/.test(sign) ? `${begun === "" ? " " : ""}${sign} (` : sign));
}

function findValues(before, [, word, , , begun], fields) {
  const field = findField(fields, word);
  const typed = begun.replace(/^"/, "").toLowerCase();
  const values = (field?.values ?? []).filter((value) => value.toLowerCase().includes(typed) && value.toLowerCase() !== typed);
  const from = before.length - begun.length;
  if (values.length === 0 && typed === "" && field?.example) return { from, items: [makeItem(String(field.example), "for example")] };
  return { from, items: values.map((value) => makeItem(/[\s"',()]/.test(value) ? JSON.stringify(value) : value)) };
}
