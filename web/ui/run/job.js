// The job of a run that is chosen: its log, its script, its result, and every attempt.

import { h, makeChoice, setAttribute, setText, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { get } from "../core/api.js";
import { makeFacts, makePane, makeTabs } from "../core/pane.js";
import { makeCopyButton, showEmpty } from "../core/notice.js";
import { changeQuery, makeLink } from "../core/router.js";
import { writeDuration, writeTime } from "../core/format.js";
import { findFamily, isOpen } from "../core/states.js";
import { fillState, makeState } from "../core/marks.js";
import { makeLogViewer } from "../log/viewer.js";
import { canRunAgain, describeEnd, findState, measureJob, writeValue } from "./facts.js";

// Make the pane. Returns { node, setJob, close }; whenRerun("one", name) hears that this job is to run again.
export function makeJobPane({ whenRerun, tab }) {
  const pane = { job: null, run: null, key: null, tab, tabs: null, drawTab: null };
  const title = h("h2");
  const state = h("span", { class: "state" });
  const link = h("a");
  const again = makeButton("Re-run this job…", () => whenRerun("one", pane.job.name), { scope: "write" });
  const end = h("p", { class: "hint" });
  const body = h("div");
  const node = h("section", { class: "pane job", "aria-label": "The chosen job" }, h("div", { class: "bar" }, title, state, link, again), end, body);

  function setJob(job, run) {
    Object.assign(pane, { job, run });
    const key = job && `${run.id} ${job.name} ${job.job_id} ${job.attempts.length}`;
    for (const part of [state, link, again, end]) part.hidden = job === null;
    if (job === null) {
      pane.key = null;
      setText(title, "No job is chosen");
      pane.tabs?.close();
      pane.tabs = null;
      showEmpty(body, "Choose a job in the graph, the timeline or the list: its log stands here then.");
      return;
    }
    setText(title, job.name);
    fillState(state, findState(job, run));
    link.hidden = !job.job_id;
    setText(link, `Job ${job.job_id}`);
    setAttribute(link, "href", makeLink(["jobs", job.job_id ?? ""]));
    again.hidden = isOpen(run.status) || !canRunAgain(run);
    setText(end, writeSummary(job, run));
    if (key === pane.key) return pane.drawTab?.();
    pane.key = key;
    openTabs();
  }

  function openTabs() {
    const tries = pane.job.attempts.length;
    pane.tabs?.close();
    pane.tabs = makeTabs({
      label: "Of this job",
      chosen: pane.tab ?? "log",
      whenChosen: (chosen) => {
        pane.tab = chosen;
        changeQuery({ tab: chosen === "log" ? null : chosen });
      },
      tabs: [
        { key: "log", title: "Log", open: openLog },
        { key: "script", title: "Script", open: (place) => openDrawn(place, makeScript(pane)) },
        { key: "result", title: "Result", open: (place) => openText(place, () => drawResult(place, pane.job, pane.run)) },
        { key: "attempts", title: tries > 1 ? `Attempts (${tries})` : "Facts", open: openAttempts },
      ],
    });
    show(body, pane.tabs.node);
  }

  const openAttempts = (place) => openText(place, () => drawAttempts(place, pane.job));

  function openText(place, draw) {
    pane.drawTab = draw;
    draw();
    return () => (pane.drawTab = null);
  }

  function openDrawn(place, made) {
    show(place, made.node);
    return made.close;
  }

  function openLog(place) {
    const tried = pane.job.attempts.filter((attempt) => attempt.job_id);
    if (tried.length === 0) {
      const why = isOpen(pane.run.status) ? "This job has not been submitted yet" : "This job never ran";
      showEmpty(place, `${why}, so it has no log.`);
      return null;
    }
    const viewerPlace = h("div");
    let viewer = null;
    const openAttempt = (attempt) => {
      viewer?.close();
      const stream = findFamily(attempt.slurm_state) === "failed" ? "stderr" : "stdout";
      const label = `${pane.job.name}, job ${attempt.job_id}`;
      viewer = makeLogViewer({ job: attempt.job_id, cluster: pane.run.cluster || null, label, stream });
      show(viewerPlace, viewer.node);
    };
    const names = tried.map((attempt, at) => [at, `Attempt ${attempt.number}, job ${attempt.job_id}`]);
    const choice = makeChoice("Attempt", names, tried.length - 1, (at) => openAttempt(tried[at]));
    show(place, tried.length > 1 && h("div", { class: "bar" }, choice), viewerPlace);
    openAttempt(tried.at(-1));
    return () => viewer.close();
  }

  return { node, setJob, close: () => pane.tabs?.close() };
}

function writeSummary(job, run) {
  const { waited_s, ran_s } = measureJob(job);
  const isGoing = findFamily(findState(job, run)) === "running";
  const end = describeEnd(job);
  const then = isGoing ? `began at ${writeTime(job.started_at)}` : `ran ${writeDuration(ran_s)}`;
  const parts = [
    end,
    job.reason && !end && !job.started_at && `Reason: ${job.reason}.`,
    waited_s !== null && ran_s !== null && `It waited ${writeDuration(waited_s)} and ${then}.`,
    waited_s !== null && ran_s === null && `It was submitted at ${writeTime(job.submitted_at)}.`,
    job.depends_on.length > 0 && `It needs ${job.depends_on.join(", ")}.`,
  ];
  return parts.filter(Boolean).join(" ");
}

function makeScript(pane) {
  const { run, job } = pane;
  return makePane({
    title: "Script",
    load: ({ signal }) => get(`api/workflows/runs/${run.id}/jobs`, {}, { signal }),
    draw: (place, jobs) => {
      const planned = jobs.find((each) => each.name === job.name);
      if (!planned?.script) return showEmpty(place, "There is no script of this job yet.");
      const write = (value) => (value === null ? null : writeValue(value));
      const resources = Object.entries(planned.resources).map(([name, value]) => [name.replaceAll("_", " "), write(value)]);
      const tries = planned.retry > 0 && `${planned.retry + 1}, ${writeDuration(planned.retry_delay_s)} apart`;
      show(
        place,
        makeFacts([...resources, ["Folder", planned.work_dir], ["Tries", tries], ["Secrets", planned.secrets.join(", ")]]),
        h("div", { class: "bar" }, makeCopyButton(() => planned.script, "Copy the script")),
        h("pre", { class: "text", tabindex: 0, "aria-label": `Script of ${job.name}` }, planned.script),
      );
    },
  });
}

function drawResult(place, job, run) {
  if (job.result_error) return showEmpty(place, `The result could not be read. ${job.result_error}`);
  const none = "This job left no result. What a job writes to the file $SLUICE_RESULT, as JSON, is kept here.";
  if (!job.result) return showEmpty(place, isOpen(run.status) ? "This job has left no result yet." : none);
  const facts = Object.entries(job.result).map(([name, value]) => [name, h("code", null, writeValue(value))]);
  const copy = makeCopyButton(() => JSON.stringify(job.result, null, 2), "Copy the result");
  return show(place, h("div", { class: "bar" }, copy), makeFacts(facts));
}

function drawAttempts(place, job) {
  if (job.attempts.length === 0) return showEmpty(place, "This job has not been tried yet.");
  show(
    place,
    [...job.attempts].reverse().map((attempt) =>
      h(
        "div",
        { class: "attempt" },
        h("h3", null, `Attempt ${attempt.number} `, makeState(attempt.slurm_state ?? "PENDING")),
        makeFacts([
          ["Job", attempt.job_id && h("a", { href: makeLink(["jobs", attempt.job_id]) }, attempt.job_id)],
          ["How it ended", describeEnd(attempt)],
          ["Reason", attempt.reason],
          ["Exit code", attempt.exit_code],
          ["Submitted", writeTime(attempt.submitted_at)],
          ["Began", writeTime(attempt.started_at)],
          ["Ended", writeTime(attempt.ended_at)],
          [attempt.stderr === attempt.stdout ? "stdout and stderr" : "stdout", attempt.stdout],
          ["stderr", attempt.stderr !== attempt.stdout && attempt.stderr],
        ]),
      ),
    ),
  );
}
