// One file of a mount: its text, of large ones a window; small images; everything to download.

import { h, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { makeUrl, request } from "../core/api.js";
import { writeBytes } from "../core/format.js";
import { makeCopyButton, showProblem } from "../core/notice.js";

const WINDOW_BYTES = 128 * 1024;
const IMAGE_BYTES = 4 * 1024 * 1024;
const IMAGES = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", avif: "image/avif" };

// Make the pane that shows a file. `entry` is its row in the list, undefined where it is not there.
export function makeFilePane(mount, path, entry, close) {
  const name = path.split("/").at(-1);
  const url = makeUrl("api/files/download", { mount, path }).href;
  const body = h("div", { class: "pane" });
  const abort = new AbortController();
  const size = entry?.size ?? null;
  const view = { offset: 0, image: null };
  const download = h("a", { href: url, download: name }, "Download");
  const count = h("span", { class: "count" }, writeBytes(size));
  const head = h("div", { class: "bar" }, h("h2", null, name), count, download, makeButton("Close", close));
  const node = h("section", { class: "pane", "aria-label": name }, head, body);

  async function read(query) {
    const options = { query: { mount, path, ...query }, accept: "*/*", signal: abort.signal, as: "blob" };
    return (await request("GET", "api/files/download", options)).data;
  }

  async function load() {
    const type = IMAGES[name.split(".").at(-1).toLowerCase()];
    try {
      if (type && size <= IMAGE_BYTES) showImage(await read({}), type);
      else await showText();
    } catch (problem) {
      if (!abort.signal.aborted) showProblem(body, `The file ${name}`, problem, load);
    }
  }

  function showImage(blob, type) {
    view.image = URL.createObjectURL(new Blob([blob], { type }));
    show(body, h("img", { src: view.image, alt: name, class: "small-image" }));
  }

  async function showText() {
    const bytes = new Uint8Array(await (await read({ offset: view.offset, length: WINDOW_BYTES })).arrayBuffer());
    const end = view.offset + bytes.length;
    const say = (words) => show(body, h("p", { class: "hint" }, words));
    if (bytes.includes(0)) return say("This file is not text. It can be downloaded.");
    if (end === 0) return say("This file is empty.");
    const text = new TextDecoder().decode(bytes);
    const window_ = h("pre", { class: "tall", tabindex: 0, role: "region", "aria-label": `Text of ${name}` }, text);
    const isWhole = view.offset === 0 && (size === null ? bytes.length < WINDOW_BYTES : end >= size);
    return show(body, h("div", { class: "bar" }, isWhole ? makeCopyButton(() => text) : makeSteps(end)), window_);
  }

  // Buttons that move the window over a large file.
  function makeSteps(end) {
    const last = Math.max(0, (size ?? end) - WINDOW_BYTES);
    const makeStep = (label, offset, disabled) => makeButton(label, () => move(offset), { disabled });
    const [from, to, all] = [view.offset, end, size].map((number) => number?.toLocaleString("en"));
    const place = h("span", { class: "count" }, `Bytes ${from} to ${to}${all ? ` of ${all}` : ""}`);
    const [isFirst, isLast] = [view.offset === 0, size !== null && end >= size];
    return [
      place,
      makeStep("First part", 0, isFirst),
      makeStep("Previous", Math.max(0, view.offset - WINDOW_BYTES), isFirst),
      makeStep("Next", end, isLast),
      makeStep("Last part", last, isLast),
    ];
  }

  function move(offset) {
    view.offset = offset;
    load().then(() => body.querySelector("pre")?.focus());
  }

  load();
  return {
    node,
    close: () => {
      abort.abort();
      if (view.image) URL.revokeObjectURL(view.image);
    },
  };
}
