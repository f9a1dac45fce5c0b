// The tasks of an array, or the components of a heterogeneous job, each with its own id and state.

import { h, setText, show } from "../core/dom.js";
import { loadList, makeLiveList } from "../core/live.js";
import { makeTable } from "../core/table.js";
import { makeLink } from "../core/router.js";
import { showProblem } from "../core/notice.js";
import { writeCount } from "../core/format.js";
import { JOB_STATES, writeState } from "../core/states.js";
import { makeJobColumns } from "./columns.js";
import { countStates } from "./bundles.js";

const MOST = 1000;
const HIDDEN = new Set(["user", "partition", "submit_time", "memory", "job_name"]);

// Open the list of all parts of a job in a place. Returns what closes it.
export function openTasks(place, whole) {
  const count = h("p", { class: "count" });
  const columns = makeJobColumns().map((column) => ({ ...column, shown: column.shown !== false && !HIDDEN.has(column.key) }));
  const table = makeTable({ id: "tasks", label: "Tasks", columns, sort: { key: "job_id", descending: false }, getLink: (job) => makeLink(["jobs", job.job_id]) });
  const query = { filter: `job_id>=${whole} and job_id<=${whole}`, expand_arrays: true, state: JOB_STATES.join(","), limit: MOST };
  const list = makeLiveList({
    kinds: ["job"],
    load: loadList("api/v1/jobs", query, (job) => job.job_id, (data) => data.jobs),
    getKey: (change) => (new RegExp(`^${whole}[_+]`).test(change.id) && !change.id.includes("[") ? (change.row?.job_id ?? change.id) : null),
    keeps: () => true,
  });
  const table_place = h("div", null, h("p", { class: "hint" }, "Loading…"));
  show(place, count, table_place);
  list.listen((changed) => {
    if (list.state === "failed") return showProblem(table_place, "The tasks", list.problem, list.reload);
    if (!table.node.isConnected) show(table_place, table.node);
    table.setRows(list.rows, changed);
    const states = [...countStates([...list.rows.values()])].map(([state, number]) => `${number} ${writeState(state)}`);
    setText(count, `${writeCount(list.rows.size, "task")}: ${states.join(", ")}`);
  });
  return () => {
    list.close();
    table.close();
  };
}
