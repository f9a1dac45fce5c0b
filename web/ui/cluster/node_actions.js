// Draining a node and giving it back: both ask first, since jobs of others depend on it.

import { h } from "../core/dom.js";
import { send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { notify } from "../core/notice.js";
import { may, me } from "../core/signin.js";

const OUT_OF_SERVICE = /DRAIN|DOWN|FAIL/;

// Make the actions that a node can take in its state.
export function makeNodeActions(node) {
  const path = `api/v1/nodes/${encodeURIComponent(node.node_name)}`;
  const isOut = OUT_OF_SERVICE.test(node.state_raw);
  const resume = makeAction({
    label: "Resume",
    scope: "admin",
    question: () => `Give ${node.node_name} back to SLURM? New jobs may start on it.`,
    call: () => ({ method: "PUT", path: `${path}/resume` }),
    done: () => `${node.node_name} is given back`,
  });
  return h("span", { class: "bar" }, isOut && resume, makeDrainButton(node, path, isOut));
}

function makeDrainButton(node, path, isOut) {
  const denied = !may("admin");
  const title = denied ? `This needs the scope admin; ${me.user} has ${[...me.scopes].join(", ") || "none"}` : null;
  return h("button", { type: "button", class: "danger", disabled: denied, title, onclick: () => openDrain(node, path) }, isOut ? "Change the reason…" : "Drain…");
}

function openDrain(node, path) {
  const reason = h("input", { name: "reason", required: true, maxlength: 1024, value: node.reason ?? "", autofocus: true, autocomplete: "off" });
  const timeout = h("input", { name: "timeout", placeholder: "for good", autocomplete: "off" });
  const makeBody = () => ({ reason: reason.value.trim(), ...(timeout.value.trim() ? { timeout: timeout.value.trim() } : {}) });
  const running = node.jobs.length;
  const form = makeForm(
    [
      h("p", null, running ? `The ${running === 1 ? "job" : `${running} jobs`} on ${node.node_name} may end as they would; no new ones start there.` : `No job runs on ${node.node_name}; none will start there.`),
      makeField("Reason", reason, { hint: "SLURM demands one; everybody sees it" }),
      makeField("Give back after", timeout, { hint: "30m, 2h, 1d12h; until somebody resumes it if left out" }),
    ],
    {
      label: `Drain ${node.node_name}`,
      describe: () => ({ method: "PUT", path: `${path}/drain`, body: makeBody() }),
      act: async () => {
        await send("PUT", `${path}/drain`, makeBody());
        dialog.close();
        notify(`${node.node_name} is drained`);
      },
    },
  );
  const dialog = openDialog(`Drain ${node.node_name}`, form);
  reason.focus();
}
