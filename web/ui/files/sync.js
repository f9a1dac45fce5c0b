// Copying a mount to its cluster: what would change, the copy itself with its progress, and ending it.

import { h, setText, show } from "../core/dom.js";
import { get, makeKey, send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeForm, openDialog } from "../core/dialog.js";
import { writeBytes, writeCount, writeTime } from "../core/format.js";
import { isOpen } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { notify, notifyRefusal } from "../core/notice.js";
import { may } from "../core/signin.js";

const POLL_MS = 500;
const MOST_CHANGES = 500;

// Make the button that copies a mount, and the line that tells of a copy. `keep(id)` hears of one that has begun.
export function makeSync(mount, known, keep) {
  const node = h("div", { class: "pane", role: "group", "aria-label": "Copy to the cluster", hidden: true });
  const button = h("button", { type: "button", disabled: !may("write"), title: may("write") ? null : "This needs the scope write", onclick: () => openSync(mount, follow) }, "Copy to the cluster…");
  const abort = new AbortController();
  let timer = 0;
  let shown = null;

  function follow(id) {
    clearTimeout(timer);
    keep(id);
    shown = null;
    look(id);
  }

  async function look(id) {
    try {
      const sync = await get(`api/files/sync/${id}`, {}, { signal: abort.signal });
      draw(sync);
      if (isOpen(sync.state)) timer = setTimeout(() => (document.hidden ? waitUntilSeen(id) : look(id)), POLL_MS);
    } catch (problem) {
      if (abort.signal.aborted) return;
      if (problem.status === 404) keep("");
      else timer = setTimeout(() => look(id), 10 * POLL_MS);
    }
  }

  function waitUntilSeen(id) {
    document.addEventListener("visibilitychange", () => look(id), { once: true, signal: abort.signal });
  }

  function draw(sync) {
    node.hidden = false;
    if (shown !== sync.state) build(sync);
    shown = sync.state;
    const bar = node.querySelector("progress");
    if (bar) bar.value = sync.percent ?? 0;
    setText(node.querySelector(".count"), describe(sync));
  }

  function build(sync) {
    const cancel = makeAction({
      label: "Cancel the copy",
      question: () => `Cancel the copy of ${sync.mount}? What is copied stays.`,
      call: () => ({ method: "DELETE", path: `api/files/sync/${sync.id}` }),
      done: () => "The copy is cancelled",
    });
    const close = h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: hide }, "×");
    const open = isOpen(sync.state);
    show(node, h("div", { class: "bar" }, makeState(sync.state), open && h("progress", { max: 100, "aria-label": `Copy of ${sync.mount}` }), h("span", { class: "count" }), open ? cancel : close));
  }

  function hide() {
    node.hidden = true;
    keep("");
    button.focus();
  }

  if (known) look(known);
  return {
    button,
    node,
    close: () => {
      abort.abort();
      clearTimeout(timer);
    },
  };
}

function describe(sync) {
  if (sync.state === "failed") return sync.reason;
  if (sync.state === "waiting") return "waits for its turn";
  const files = sync.files_total ? `${sync.files_done.toLocaleString("en")} of ${writeCount(sync.files_total, "file")}` : "";
  const rate = sync.rate_bytes_s ? `${writeBytes(sync.rate_bytes_s)}/s` : "";
  const percent = sync.percent === null ? "" : `${sync.percent} %`;
  const ended = sync.ended_at ? `ended ${writeTime(sync.ended_at)}` : "";
  return [percent, files, writeBytes(sync.size_bytes), rate, ended].filter(Boolean).join(", ");
}

function openSync(mount, follow) {
  const remove = h("input", { type: "checkbox" });
  const plan = h("div", { class: "pane" });
  const key = makeKey();
  const describeCall = () => ({ method: "POST", path: "api/files/sync", body: { mount, delete: remove.checked, wait: false } });
  const look = h("button", { type: "button", onclick: showPlan }, "What would change?");
  const form = makeForm([h("label", null, remove, " Delete what exists only on the cluster"), plan], {
    label: "Copy",
    describe: describeCall,
    extra: look,
    act: async () => {
      const { method, path, body } = describeCall();
      const begun = await send(method, path, body, { key });
      dialog.close();
      if (begun.id) follow(begun.id);
      else notify(`${mount} needs no copy: its jobs run in the folder itself`);
    },
  });
  const dialog = openDialog(`Copy ${mount} to the cluster`, form);

  async function showPlan() {
    look.disabled = true;
    try {
      const found = await send("POST", "api/files/sync", { mount, delete: remove.checked, dry_run: true });
      const { create, update, delete: gone } = found.counts;
      const rows = found.changes.slice(0, MOST_CHANGES).map((change) => `${change.change}  ${change.path}`);
      const more = found.truncated || found.changes.length > rows.length ? `\n… ${(create + update + gone - rows.length).toLocaleString("en")} more` : "";
      show(plan, h("p", null, `${create} new, ${update} changed, ${gone} to be deleted`), rows.length > 0 && h("pre", { class: "window", tabindex: 0, role: "region", "aria-label": "What would change" }, rows.join("\n") + more));
    } catch (problem) {
      notifyRefusal("What would change", problem);
    }
    look.disabled = false;
  }
}
