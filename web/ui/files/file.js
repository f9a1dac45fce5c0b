// One file of a mount: its text, of large ones a window; small images; everything to download.

import { h, setText, show } from "../core/dom.js";
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
  const node = h(
    "section",
    { class: "pane", "aria-label": name },
    h("div", { class: "bar" }, h("h2", null, name), h("span", { class: "count" }, writeBytes(size)), h("a", { href: url, download: name }, "Download"), h("button", { type: "button", onclick: close }, "Close")),
    body,
  );

  const read = (query) => request("GET", "api/files/download", { query: { mount, path, ...query }, accept: "*/*", signal: abort.signal, as: "blob" }).then(({ data }) => data);

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
    if (bytes.includes(0)) {
      show(body, h("p", { class: "hint" }, "This file is not text. It can be downloaded."));
      return;
    }
    const text = new TextDecoder().decode(bytes);
    const window_ = h("pre", { class: "tall", tabindex: 0, role: "region", "aria-label": `Text of ${name}` }, text);
    const isWhole = view.offset === 0 && (size === null ? bytes.length < WINDOW_BYTES : end >= size);
    show(body, h("div", { class: "bar" }, isWhole ? makeCopyButton(() => text) : makeSteps(end)), text ? window_ : h("p", { class: "hint" }, "This file is empty."));
  }

  // Buttons that move the window over a large file.
  function makeSteps(end) {
    const last = Math.max(0, (size ?? end) - WINDOW_BYTES);
    const makeStep = (label, offset, isOff) => h("button", { type: "button", disabled: isOff, onclick: () => move(offset) }, label);
    const place = h("span", { class: "count" });
    setText(place, `Bytes ${view.offset.toLocaleString("en")} to ${end.toLocaleString("en")}${size === null ? "" : ` of ${size.toLocaleString("en")}`}`);
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
