// Copying a mount to its cluster: what would change, the copy itself with its progress, and ending it.

import { h, setText, show } from "../core/dom.js";
import { get, send } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { openForm } from "../core/dialog.js";
import { writeBytes, writeCount, writeTime } from "../core/format.js";
import { makeLiveDocument } from "../core/live.js";
import { isOpen } from "../core/states.js";
import { makeState } from "../core/marks.js";
import { notify, notifyRefusal } from "../core/notice.js";

const ASK_MS = 500; // how far a copy is is not told by the stream
const MOST_CHANGES = 500;

// Make the button that copies a mount, and the line that tells of a copy, whoever began it. `keep(id)` hears which one.
export function makeSync(mount, known, keep) {
  const node = h("div", { class: "pane", role: "group", "aria-label": "Copy to the cluster", hidden: true });
  const button = makeButton("Copy to the cluster…", () => openSync(mount, follow), { scope: "write" });
  let id = known;
  let shown = null;
  const copy = makeLiveDocument({
    kinds: ["sync"],
    isOwn: (change) => {
      if (change.action === "created" && change.row?.mount === mount) setId(change.id);
      return change.id === id;
    },
    load: async ({ signal }) => (id ? get(`api/files/sync/${id}`, {}, { signal }) : null),
    every_ms: ASK_MS,
    isBusy: (sync) => id && (copy.problem || isOpen(sync?.state)),
  });
  copy.listen(() => {
    if (copy.problem?.status === 404) setId("");
    else if (copy.value?.id === id) draw(copy.value);
  });

  function setId(now) {
    id = now;
    shown = null;
    keep(id);
  }

  function follow(begun) {
    setId(begun);
    copy.reload();
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
    const close = makeButton("×", hide, { class: "plain", "aria-label": "Close" });
    const open = isOpen(sync.state);
    const bar = open && h("progress", { max: 100, "aria-label": `Copy of ${sync.mount}` });
    show(node, h("div", { class: "bar" }, makeState(sync.state), bar, h("span", { class: "count" }), open ? cancel : close));
  }

  function hide() {
    node.hidden = true;
    setId("");
    button.focus();
  }

  return {
    button,
    node,
    close: copy.close,
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
  const look = makeButton("What would change?", showPlan);
  openForm(`Copy ${mount} to the cluster`, [h("label", null, remove, " Delete what exists only on the cluster"), plan], {
    label: "Copy",
    extra: look,
    call: () => ({ method: "POST", path: "api/files/sync", body: { mount, delete: remove.checked, wait: false } }),
    done: (begun) => (begun.id ? follow(begun.id) : notify(`${mount} needs no copy: its jobs run in the folder itself`)),
  });

  async function showPlan() {
    look.disabled = true;
    try {
      const found = await send("POST", "api/files/sync", { mount, delete: remove.checked, dry_run: true });
      const { create, update, delete: gone } = found.counts;
      const rows = found.changes.slice(0, MOST_CHANGES).map(({ change, path }) => `${change}  ${path}`);
      const left = create + update + gone - rows.length;
      if (left > 0) rows.push(`… ${left.toLocaleString("en")} more`);
      const look = { tabindex: 0, role: "region", "aria-label": "What would change" };
      const words = h("p", null, `${create} new, ${update} changed, ${gone} to be deleted`);
      show(plan, words, rows.length > 0 && h("pre", look, rows.join("\n")));
    } catch (problem) {
      notifyRefusal("What would change", problem);
    }
    look.disabled = false;
  }
}
