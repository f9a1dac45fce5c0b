// The log of a job: opens at its end, follows while the reader is there, and is never loaded whole.
//
//   import { makeLogViewer } from "../log/viewer.js";
//   const viewer = makeLogViewer({ job: "42_7", cluster: null, label: "job 42_7" });
//   place.append(viewer.node);            // give it a height, or take that of the class "log-viewer"
//   return viewer.close;                  // when the view is closed: it reads until then
//
//   job       any id that SLURM has for it
//   cluster   its cluster; null for the one in force
//   label     what it is the log of, in words
//   stream    "stdout" or "stderr": which one is opened where the address names none (a failed job: stderr)
//   hasPlace  whether stream and lines stand in the address (?log=42_7&stream=stderr&lines=L120-140); only one viewer of
//             a view may have that, and it is the default
//   makePath  (stream) => path of the operations, where it is not that of a job
//
// Returns { node, close, choose(stream), showLines(first, last), refresh }. It reads anew by itself when the job changes.

import { makeUrl, request } from "../core/api.js";
import { debounce, h, setText, show } from "../core/dom.js";
import { writeBytes, writeCount, writeTime } from "../core/format.js";
import { hearChanges } from "../core/live.js";
import { copyText, notify, notifyRefusal, say, showEmpty, showProblem } from "../core/notice.js";
import { changeQuery, makeLink, readAddress } from "../core/router.js";
import { toPlain } from "./ansi.js";
import { catchCopying } from "./copying.js";
import { makeScreen } from "./screen.js";
import { makeSearch } from "./search.js";
import { openSource } from "./source.js";

const STREAMS = { stdout: "Output", stderr: "Errors" };
const MOST_COPIED_BYTES = 5_000_000;

// Make the viewer of a job's log; see the head of this module.
export function makeLogViewer({ job, cluster = null, label = `job ${job}`, stream = "stdout", hasPlace = true, makePath = (name) => `api/jobs/${encodeURIComponent(job)}/logs/${name}` }) {
  const asked = hasPlace ? readPlace(job) : {};
  const viewer = { stream: asked.stream ?? stream, source: null, screen: null, search: null, isFollowing: true, unseen: 0, isSpoken: false };
  const tabs = Object.entries(STREAMS).map(([key, title]) =>
    h("button", { type: "button", role: "tab", "data-key": key, onclick: () => choose(key) }, title),
  );
  const list = h("div", { class: "tabs", role: "tablist", "aria-label": `Streams of ${label}`, onkeydown: moveTab }, tabs);
  const facts = h("span", { class: "count" });
  const wrap = h("input", { type: "checkbox", onchange: () => setWrap(wrap.checked) });
  const spoken = h("input", { type: "checkbox", onchange: () => (viewer.isSpoken = spoken.checked) });
  const download = h("a", { class: "button", download: "" }, "Download");
  const place = h("div", { class: "log-place", role: "tabpanel" });
  const fresh = h("button", { type: "button", class: "log-fresh", hidden: true, onclick: goToEnd });
  const pages = h("div", { class: "bar", hidden: true }, makePageButton("Lines before these", -1), makePageButton("Lines after these", 1));
  const bar = h(
    "div",
    { class: "bar log-bar" },
    facts,
    h("button", { type: "button", onclick: () => viewer.search?.open(), title: "Ctrl-F or / inside the log" }, "Search"),
    h("button", { type: "button", onclick: goToStart }, "Start"),
    h("button", { type: "button", onclick: goToEnd }, "End"),
    h("label", { class: "small" }, wrap, "Wrap"),
    h("label", { class: "small" }, spoken, "Speak new lines"),
    h("button", { type: "button", onclick: copyAll }, "Copy all"),
    download,
  );
  const searchPlace = h("div");
  const node = h("section", { class: "log-viewer", "aria-label": `Log of ${label}` }, h("div", { class: "log-head" }, list, bar), searchPlace, pages, place, fresh);

  // --- one stream -----------------------------------------------------------------------------------------------------------

  // Open a stream at its end, at lines that are named, or where the reader was.
  function open(named = null, before = null) {
    const wasHere = named === null && before?.job === job && before.stream === viewer.stream;
    const wanted = wasHere ? { first: before.line, isPlace: true } : named;
    viewer.source?.close();
    viewer.screen?.close();
    Object.assign(viewer, { isFollowing: wanted === null, unseen: 0, wanted, isShown: false });
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab.dataset.key === viewer.stream);
      tab.tabIndex = tab.dataset.key === viewer.stream ? 0 : -1;
    }
    place.setAttribute("aria-label", STREAMS[viewer.stream]);
    show(place, h("p", { class: "hint" }, "Loading…"));
    const path = makePath(viewer.stream);
    const query = { cluster };
    download.href = makeUrl(`${path}/file`, query).href;
    const source = openSource(path, query, { changed: draw, moved, failed, anew, added });
    const screen = makeScreen({ label: `${STREAMS[viewer.stream]} of ${label}`, source, makeLink: makeLineLink, whenScrolled: hearScroll, whenPicked: pickLine });
    catchCopying(screen, source, copyAll);
    const search = makeSearch({ source, screen, show: showHit, whenClosed: () => screen.node.focus() });
    show(searchPlace, search.node);
    Object.assign(viewer, { source, screen, search });
    if (named) Object.assign(screen.marks, { from: named.first, to: named.last });
    if (wrap.checked) screen.setWrap(true);
  }

  function draw() {
    const { source, screen } = viewer;
    const { facts: found } = source;
    if (found === null) return;
    tellFacts(found);
    if (found.merged && viewer.stream === "stderr") viewer.stream = "stdout";
    list.hidden = found.merged;
    if (!found.exists || found.size_bytes === 0) return showNone(found);
    if (!viewer.isShown) {
      show(place, screen.node);
      viewer.isShown = true;
      if (!viewer.wanted) screen.showEnd();
    }
    if (viewer.wanted) goToWanted();
    else if (viewer.isFollowing) screen.showEnd();
    else screen.draw();
    pages.hidden = !screen.isWrapped || source.total <= 400;
    viewer.search.paint();
  }

  // A line that the address names is shown as soon as the server has counted so far.
  function goToWanted() {
    const { source, screen, wanted } = viewer;
    if (source.total < wanted.first && !source.isCounted) return screen.showEnd();
    viewer.wanted = null;
    if (wanted.isPlace && !screen.isWrapped) screen.moveTo(wanted.first - 1);
    else screen.showLine(wanted.first);
  }

  function tellFacts(found) {
    const { source } = viewer;
    const counted = source.isCounted ? writeCount(source.total, "line") : `counting lines, ${Math.floor((100 * found.counted_bytes) / Math.max(1, found.size_bytes))} %`;
    const state = found.ended ? "the job has ended" : "the job still writes";
    setText(facts, found.exists ? `${counted}, ${writeBytes(found.size_bytes)}; ${state}${found.merged ? "; output and errors are one file" : ""}` : "");
    facts.title = found.path ? `${found.path}\nlast written ${found.modified_at ? writeTime(found.modified_at) : "never"}` : "";
    download.hidden = !found.exists;
  }

  function showNone(found) {
    viewer.isShown = false;
    if (found.exists) return showEmpty(place, found.ended ? "The file is empty: the job has written nothing here." : "The file is empty so far. What the job writes appears here by itself.");
    if (found.ended) return showEmpty(place, `There is no file${found.path ? ` at ${found.path}` : ""}: the job wrote none, or it was removed.`);
    return showEmpty(place, "There is no log yet. It appears here as soon as the job has begun to write.");
  }

  function failed(problem) {
    if (viewer.isShown && problem.status !== 403 && problem.status !== 404) {
      setText(facts, `The log could not be read: ${problem.message} Trying again.`);
      return;
    }
    viewer.isShown = false;
    showProblem(place, `the log of ${label}`, problem, () => open(viewer.wanted));
  }

  function anew() {
    notify(`The log of ${label} was written anew; this is the new one.`, { kind: "told", lasts_ms: 6000 });
    viewer.isFollowing = true;
    viewer.unseen = 0;
    viewer.screen.marks = { from: 0, to: 0, hit: 0 };
    viewer.search.reset();
  }

  function moved(lines) {
    const { screen } = viewer;
    if (screen.top + 1 >= lines) screen.top = Math.max(0, screen.top + lines);
    screen.wrapFirst = Math.max(1, screen.wrapFirst + lines);
    if (viewer.isShown && !viewer.isFollowing) screen.moveTo(screen.top);
  }

  // --- follow ----------------------------------------------------------------------------------------------------------------

  function added(lines) {
    if (viewer.isSpoken) say(`${writeCount(lines, "new line")}: ${toPlain(viewer.source.lines.get(viewer.source.total)?.shown ?? "")}`);
    if (viewer.isFollowing) return;
    viewer.unseen += lines;
    tellFresh();
  }

  function tellFresh() {
    fresh.hidden = viewer.isFollowing || viewer.unseen === 0;
    setText(fresh, `↓ ${writeCount(viewer.unseen, "new line")}`);
  }

  function hearScroll() {
    viewer.wanted = null;
    viewer.isFollowing = viewer.screen.isAtEnd();
    if (viewer.isFollowing) viewer.unseen = 0;
    tellFresh();
    viewer.search.paint();
    keepPlaceSoon();
  }

  // Where the reader is stays with the entry of the history: Back leads there again.
  const keepPlaceSoon = debounce(() => {
    if (!hasPlace || viewer.isClosed) return;
    const line = Math.round(viewer.screen.top) + 1;
    history.replaceState({ ...history.state, log: viewer.isFollowing ? null : { job, stream: viewer.stream, line } }, "");
  }, 200);

  function goToEnd() {
    viewer.wanted = null;
    viewer.screen.showEnd();
    hearScroll();
    viewer.screen.node.focus({ preventScroll: true });
  }

  function goToStart() {
    viewer.screen.showStart();
    hearScroll();
    viewer.screen.node.focus({ preventScroll: true });
  }

  // --- lines with an address ---------------------------------------------------------------------------------------------------

  const makeLineLink = (number) => makeLink(readAddress().parts, { ...Object.fromEntries(readAddress().query), log: job, stream: viewer.stream, lines: `L${number}` });

  function pickLine(number, isRange) {
    if (number >= viewer.source.firstGuessed) return;
    const { marks } = viewer.screen;
    const other = isRange && marks.from ? marks.from : number;
    showMarked(Math.min(number, other), Math.max(number, other));
  }

  function showMarked(first, last) {
    Object.assign(viewer.screen.marks, { from: first, to: last });
    viewer.screen.draw();
    if (hasPlace) changeQuery({ log: job, stream: viewer.stream, lines: first === last ? `L${first}` : `L${first}-${last}` });
  }

  // Show lines, marked, as their address does.
  function showLines(first, last = first) {
    viewer.isFollowing = false;
    showMarked(first, last);
    viewer.screen.showLine(first);
    hearScroll();
  }

  function showHit(line) {
    viewer.screen.showLine(line, true);
    hearScroll();
  }

  function choose(key) {
    if (key === viewer.stream) return;
    viewer.stream = key;
    if (hasPlace) changeQuery({ log: job, stream: key, lines: null });
    open();
  }

  function moveTab(event) {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    const other = tabs.find((tab) => tab.dataset.key !== viewer.stream);
    choose(other.dataset.key);
    other.focus();
  }

  // --- the rest ----------------------------------------------------------------------------------------------------------------

  function setWrap(isOn) {
    viewer.screen.setWrap(isOn);
    draw();
  }

  function makePageButton(text, step) {
    return h("button", { type: "button", onclick: () => viewer.screen.turnPage(step) }, text);
  }

  async function copyAll() {
    const size_bytes = viewer.source.facts?.size_bytes ?? 0;
    if (size_bytes > MOST_COPIED_BYTES) {
      notify(`The log has ${writeBytes(size_bytes)}, too much to copy. Download it instead.`, { kind: "failed" });
      return;
    }
    try {
      const { data } = await request("GET", `${makePath(viewer.stream)}/file`, { query: { cluster }, accept: "*/*" });
      const text = data.split("\n").map(toPlain).join("\n");
      notify((await copyText(text)) ? `Copied all ${writeCount(viewer.source.total, "line")}.` : "The browser did not let the page copy.");
    } catch (problem) {
      notifyRefusal("Nothing was copied", problem);
    }
  }

  node.addEventListener("keydown", (event) => {
    const isFind = (event.ctrlKey || event.metaKey) && event.key === "f";
    const isSlash = event.key === "/" && !event.ctrlKey && !event.metaKey && event.target.tagName !== "INPUT";
    if (!isFind && !isSlash) return;
    event.preventDefault();
    event.stopPropagation();
    viewer.search.open();
  });

  open(asked.first ? asked : null, hasPlace ? history.state?.log : null);
  const stopHearing = hearChanges(["job"], (changes) => {
    if (changes.some(({ id, row }) => id === job || row?.job_id === job)) viewer.source.poll();
  });
  return {
    node,
    choose,
    showLines,
    refresh: () => viewer.source.poll(),
    close: () => {
      viewer.isClosed = true;
      stopHearing();
      viewer.source.close();
      viewer.screen.close();
      viewer.search.forget();
    },
  };
}

// Read which stream and lines of this job the address names: ?log=42&stream=stderr&lines=L120-140.
function readPlace(job) {
  const { query } = readAddress();
  if (query.has("log") && query.get("log") !== String(job)) return {};
  const stream = query.get("stream") in STREAMS ? query.get("stream") : undefined;
  const [, first, last] = /^L(\d{1,15})(?:-L?(\d{1,15}))?$/.exec(query.get("lines") ?? "") ?? [];
  return first ? { stream, first: Math.max(1, Number(first)), last: Math.max(Number(first), Number(last ?? first)) } : { stream };
}
