// Cancelling several runs: asked once, with their number, and told for each what came of it.

import { h } from "../core/dom.js";
import { send } from "../core/api.js";
import { askFirst } from "../core/dialog.js";
import { notify } from "../core/notice.js";
import { may } from "../core/signin.js";
import { writeCount } from "../core/format.js";
import { countJobs } from "./facts.js";

// Make the button that cancels these runs.
export function makeCancelRuns(runs) {
  const button = h("button", { type: "button", class: "danger", disabled: !may("write"), title: may("write") ? null : "This needs the scope write" }, `Cancel ${writeCount(runs.length, "run")}`);
  const total = (family) => runs.reduce((sum, run) => sum + countJobs(run).counts[family], 0);
  button.addEventListener("click", async () => {
    const question = `Cancel ${writeCount(runs.length, "run")} with ${total("running")} running and ${writeCount(total("waiting"), "waiting job")}?`;
    if (!(await askFirst(button, question, "Cancel them"))) return;
    button.disabled = true;
    const answers = await Promise.allSettled(runs.map((run) => send("POST", `api/workflows/runs/${run.id}/cancel`)));
    const refused = answers.map((answer, at) => [runs[at], answer]).filter(([, answer]) => answer.status === "rejected");
    const done = writeCount(runs.length - refused.length, "run");
    const detail = refused.map(([run, answer]) => `${run.workflow_name} ${run.id}: ${answer.reason.message}`).join("\n");
    notify(refused.length > 0 ? `${done} cancelled, ${refused.length} not.` : `${done} cancelled.`, { kind: refused.length > 0 ? "failed" : "done", detail: detail || null });
  });
  return button;
}
