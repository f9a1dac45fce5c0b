// What failed in a run, before all else: which jobs, how they ended in words, the last lines of the first one's log, and
// what to do about it.

import { h, keepInStep, setText, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { get } from "../core/api.js";
import { fillState } from "../core/marks.js";
import { writeCount } from "../core/format.js";
import { findFamily, isOpen } from "../core/states.js";
import { shownOf, toPlain } from "../log/ansi.js";
import { canRunAgain, describeEnd, findState, listFailed, listUnfinished } from "./facts.js";

const LINES = 12;
const MOST = 6; // so many failed jobs are named; the others are in the graph and the list

// Make the part. Returns { node, setRun, close }; whenRerun(failed or all) hears what is to run again.
export function makeFailure({ whenSelected, whenRerun }) {
  const part = { shownOf: undefined, abort: null };
  const title = h("h2");
  const list = h("ul");
  const words = h("p");
  const log = h("pre", { tabindex: 0, "aria-label": "Last lines of the log", hidden: true });
  const more = h("p", { class: "small" });
  const actions = h("div", { class: "bar" });
  const node = h("section", { class: "failure", "aria-label": "What failed", hidden: true }, title, list, words, log, more, actions);

  function setRun(run) {
    const failed = listFailed(run);
    node.hidden = findFamily(run.status) !== "failed" && failed.length === 0;
    if (node.hidden) return;
    setText(title, failed.length > 0 ? `${writeCount(failed.length, "job")} failed` : "The run failed");
    const update = (row, job) => updateRow(row, job, run);
    keepInStep(list, failed.slice(0, MOST), (job) => job.name, (job) => update(makeRow(), job), update);
    setText(more, failed.length > MOST ? `… and ${failed.length - MOST} more, marked ✗ in the graph.` : "");
    setText(words, failed.length > 0 ? "" : run.error);
    drawActions(run);
    showLog(failed.find((job) => job.job_id), run);
  }

  function makeRow() {
    const choose = (event) => whenSelected(event.target.closest("li").dataset.key);
    const name = h("button", { class: "plain name", onclick: choose });
    return h("li", null, name, " ", h("span", { class: "state" }), " ", h("span", { class: "end" }));
  }

  function updateRow(row, job, run) {
    setText(row.querySelector(".name"), job.name);
    fillState(row.querySelector(".state"), findState(job, run));
    setText(row.querySelector(".end"), describeEnd(job));
    return row;
  }

  let drawn = "";
  function drawActions(run) {
    const unfinished = listUnfinished(run);
    const shape = `${isOpen(run.status)} ${unfinished.length}`;
    if (shape === drawn) return;
    drawn = shape;
    const later = h("span", { class: "hint" }, "The rest of the run goes on; it can be run again when it has ended.");
    if (!canRunAgain(run)) return show(actions);
    if (isOpen(run.status)) return show(actions, later);
    const button = (text, what) => makeButton(text, () => whenRerun(what), { scope: "write" });
    const left = `Re-run what did not complete (${writeCount(unfinished.length, "job")})…`;
    return show(actions, button(left, "failed"), button("Re-run all…", "all"));
  }

  // The end of the first log: what it wrote to stderr, or to stdout where that is all there is.
  async function showLog(job, run) {
    if (job?.job_id === part.shownOf) return;
    part.shownOf = job?.job_id;
    part.abort?.abort();
    part.abort = new AbortController();
    log.hidden = true;
    if (!job) return;
    const { signal } = part.abort;
    const read = (stream) => get(`api/jobs/${job.job_id}/logs/${stream}`, { lines: LINES, cluster: run.cluster }, { signal });
    try {
      let found = await read("stderr");
      if (found.lines.length === 0) found = await read("stdout");
      const text = found.lines.map((line) => toPlain(shownOf(line))).join("\n");
      setText(log, text.trimEnd() || "It wrote nothing.");
    } catch (problem) {
      if (problem.name === "AbortError") return;
      setText(log, `The log of ${job.name} could not be read. ${problem.message}`);
    }
    log.hidden = false;
  }

  return { node, setRun, close: () => part.abort?.abort() };
}
