// Draining a node and giving it back: both ask first, since jobs of others depend on it.

import { h } from "../core/dom.js";
import { makeAction, makeButton } from "../core/action.js";
import { openForm } from "../core/dialog.js";
import { writeCount } from "../core/format.js";
import { notify } from "../core/notice.js";

const OUT_OF_SERVICE = /DRAIN|DOWN|FAIL/;

// Make the actions that a node can take in its state.
export function makeNodeActions(node) {
  const name = node.node_name;
  const path = `api/v1/nodes/${encodeURIComponent(name)}`;
  const isOut = OUT_OF_SERVICE.test(node.state_raw);
  const resume = makeAction({
    label: "Resume",
    scope: "admin",
    question: () => `Give ${name} back to SLURM? New jobs may start on it.`,
    call: () => ({ method: "PUT", path: `${path}/resume` }),
    done: () => `${name} is given back`,
  });
  const label = isOut ? "Change the reason…" : "Drain…";
  const drain = makeButton(label, () => openDrain(node, path), { scope: "admin", class: "danger" });
  return h("span", { class: "bar" }, isOut && resume, drain);
}

function openDrain({ node_name: name, reason, jobs }, path) {
  const running = jobs.length > 0 ? `${writeCount(jobs.length, "job")} on ${name} may go on to the end` : `No job runs on ${name}`;
  openForm(
    `Drain ${name}`,
    [
      h("p", null, `${running}; none will start there.`),
      ["reason", "Reason", "SLURM demands one; everybody sees it", { required: true, maxlength: 1024, value: reason ?? "" }],
      ["timeout", "Give back after", "30m, 2h, 1d12h; until somebody resumes it if left out", { placeholder: "for good" }],
    ],
    {
      label: `Drain ${name}`,
      call: ({ reason: why = "", timeout }) => ({ method: "PUT", path: `${path}/drain`, body: { reason: why, timeout } }),
      done: () => notify(`${name} is drained`),
    },
  );
}
