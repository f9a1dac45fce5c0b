// The jobs of a run as a table.

import { h, setAttribute, setText } from "../core/dom.js";
import { fillState } from "../core/marks.js";
import { makeTable } from "../core/table.js";
import { makeLink } from "../core/router.js";
import { writeDuration } from "../core/format.js";
import { findFamily } from "../core/states.js";
import { findState, measureJob } from "./facts.js";

// Make the table. Returns { node, setRun(run, name of the chosen job), close }.
export function makeJobTable({ whenSelected }) {
  let selected = null;
  let order = new Map();
  let shown = [];
  const isWaiting = (job) => !job.ended_at && job.submitted_at !== null && !job.started_at;
  const makeTime = (title, key, ticks) => ({
    key: title.toLowerCase(),
    title,
    width: "5rem",
    numeric: true,
    value: (job) => measureJob(job)[key],
    write: (job) => writeDuration(measureJob(job)[key]),
    ticks,
  });
  const table = makeTable({
    id: "run-jobs",
    label: "Jobs of the run",
    sort: { key: "order", descending: false },
    columns: [
      { key: "order", title: "#", width: "2.5rem", numeric: true, value: (job) => order.get(job.name) },
      { key: "name", title: "Name", width: "minmax(9rem, 2fr)", value: (job) => job.name, render: fillName },
      { key: "state", title: "State", width: "8.5rem", value: (job) => job.shown, render: (cell, job) => fillState(cell, job.shown) },
      { key: "job_id", title: "Job", width: "5.5rem", value: (job) => job.job_id, render: fillJob },
      makeTime("Waited", "waited_s", isWaiting),
      makeTime("Ran", "ran_s", (job) => findFamily(job.shown) === "running"),
      { key: "attempts", title: "Tries", width: "3.5rem", numeric: true, value: (job) => job.attempts.length },
      { key: "exit_code", title: "Exit", width: "3.5rem", numeric: true, value: (job) => job.exit_code },
      { key: "depends_on", title: "Needs", value: (job) => job.depends_on.join(", ") },
      { key: "reason", title: "Reason", shown: false, value: (job) => job.reason },
    ],
  });

  function fillName(cell, job) {
    const choose = (event) => whenSelected(event.target.textContent);
    const button = cell.firstElementChild ?? cell.appendChild(h("button", { class: "plain", onclick: choose }));
    setText(button, job.name);
    setAttribute(button, "aria-pressed", job.name === selected);
    setAttribute(button, "title", job.name);
    cell.parentElement?.classList.toggle("chosen", job.name === selected);
  }

  function fillJob(cell, job) {
    const link = cell.firstElementChild ?? cell.appendChild(h("a"));
    setAttribute(link, "href", job.job_id ? makeLink(["jobs", job.job_id]) : null);
    setText(link, job.job_id);
  }

  // Rows are made anew, since the table draws again only those that are other ones.
  function setRun(run, name) {
    if (shown[0] === run && shown[1] === name) return;
    shown = [run, name];
    selected = name;
    order = new Map(run.jobs.map((job, at) => [job.name, at + 1]));
    table.setRows(new Map(run.jobs.map((job) => [job.name, { ...job, shown: findState(job, run) }])));
  }

  return { node: table.node, setRun, close: table.close };
}
