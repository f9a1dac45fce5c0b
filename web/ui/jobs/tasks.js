// The tasks of an array, or the components of a heterogeneous job, each with its own id and state.

import { h, show } from "../core/dom.js";
import { loadList } from "../core/live.js";
import { makeListView } from "../core/list_view.js";
import { makeLink } from "../core/router.js";
import { JOB_STATES, writeState } from "../core/states.js";
import { makeJobColumns } from "./columns.js";
import { countStates } from "./bundles.js";

const MOST = 1000;
const HIDDEN = new Set(["user", "partition", "submit_time", "memory", "job_name"]);

// Open the list of all parts of a job in a place: tasks, or components. Returns what closes it.
export function openParts(place, whole, noun, query) {
  const asked = { filter: `job_id>=${whole} and job_id<=${whole}`, expand_arrays: true, state: JOB_STATES.join(","), limit: MOST };
  // Just after its submission the whole job may stand there in place of its parts.
  const isPart = new RegExp(`^${whole}[_+]`);
  const view = makeListView({
    query,
    id: "tasks",
    title: noun === "task" ? "Tasks" : "Components",
    heading: null,
    noun,
    columns: makeJobColumns().map((column) => (HIDDEN.has(column.key) ? { ...column, shown: false } : column)),
    sort: "job_id",
    kinds: ["job"],
    load: loadList("api/v1/jobs", asked, (job) => job.job_id, (data) => data.jobs.filter((job) => isPart.test(job.job_id))),
    getKey: ({ id, row }) => (isPart.test(id) && !id.includes("[") ? (row?.job_id ?? id) : null),
    keeps: () => true,
    getLink: (job) => makeLink(["jobs", job.job_id]),
    summarize: (jobs) => ({ words: [...countStates(jobs)].map(([state, number]) => `${number} ${writeState(state)}`) }),
    none: () => [`SLURM tells of no ${noun} of this job.`],
  });
  show(place, h("div", { class: "view-parts" }, view.nodes));
  return view.close;
}
