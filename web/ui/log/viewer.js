// The log of a job: opens at its end, follows while the reader is there, and is never loaded whole.
//
//   job       any id that SLURM has for it
//   cluster   its cluster; null for the one in force
//   label     what it is the log of, in words
//   stream    which one is opened where the address names none: "stdout", or "stderr", where it has any
//   hasPlace  whether stream and lines stand in the address (?log=42_7&stream=stderr&lines=L120-140): for one of a view
//   sent      { path, file }: a log that the job sent, by the operations that read it; `job` is then its name
//
// makeLogViewer returns { node, close, showLines(first, last) }: it reads until it is closed, and anew when the job changes.

import { makeUrl } from "../core/api.js";
import { h, setAttribute, setText, show } from "../core/dom.js";
import { writeBytes, writeCount, writeTime } from "../core/format.js";
import { hearChanges } from "../core/live.js";
import { notify, say, showEmpty, showProblem } from "../core/notice.js";
import { makeTabs } from "../core/pane.js";
import { changeQuery, keepPlace, makeLink, readAddress } from "../core/router.js";
import { toPlain } from "./ansi.js";
import { catchCopying } from "./copying.js";
import { makeScreen } from "./screen.js";
import { makeSearch } from "./search.js";
import { openSource } from "./source.js";

const STREAMS = { stdout: "Output", stderr: "Errors" };

// Make the viewer of a job's log; see the head of this module.
export function makeLogViewer({ job, cluster = null, label = `job ${job}`, stream = "stdout", hasPlace = true, sent = null }) {
  const named = hasPlace ? readPlace(job) : {};
  const kept = hasPlace ? keepPlace("log", findPlace) : null;
  const isKept = kept?.job === job && !named.first;
  let [place, source, screen, search, copyAll, key] = [];
  let wanted = named.first ? named : isKept ? { first: kept.line, isPlace: true } : null; // to go to when it is counted
  let mayTurn = stream === "stderr" && !named.stream && !isKept; // to the output, where there are no errors
  let [isFollowing, isShown, unseen] = [true, false, 0];

  const facts = h("span", { class: "count" });
  const wrap = h("input", { type: "checkbox", onchange: setWrap });
  const spoken = h("input", { type: "checkbox" });
  const copy = makeButton("Copy all", () => copyAll());
  const download = h("a", { class: "button", download: "" }, "Download");
  const fresh = makeButton("", goToEnd, { class: "log-fresh", hidden: true });
  const turn = (step) => () => screen.turnPage(step);
  const pages = h("div", { class: "bar", hidden: true }, makeButton("Lines before these", turn(-1)), makeButton("Lines after these", turn(1)));
  const searchPlace = h("div");
  const printed = h("p", { class: "hint", hidden: true });
  const bar = h(
    "div",
    { class: "bar log-bar" },
    facts,
    makeButton("Search", () => search.open(), { title: "Ctrl-F or / inside the log" }),
    makeButton("Start", () => move("showStart")),
    makeButton("End", goToEnd),
    h("label", { class: "small" }, wrap, "Wrap"),
    h("label", { class: "small", title: "Speak new lines as they come" }, spoken, "Speak"),
    copy,
    download,
  );
  const tabs = makeTabs({
    label: `Streams of ${label}`,
    chosen: named.stream ?? (isKept ? kept.stream : stream),
    whenChosen: (name) => hasPlace && changeQuery({ log: job, stream: name, lines: null }),
    tabs: Object.entries(STREAMS).map(([name, title]) => ({ key: name, title, open: (panel) => open(panel, name) })),
  });
  const [list, panel] = tabs.node.children;
  const head = h("div", { class: "log-head" }, list, bar);
  const node = h("section", { class: "log-viewer", "aria-label": `Log of ${label}`, onkeydown: hearKey }, head, searchPlace, pages, printed, panel, fresh);

  // --- one stream ---

  // Open a stream at its end, or at what is wanted. Returns what closes it.
  function open(panel, name) {
    [place, key, isFollowing, isShown, unseen] = [panel, name, wanted === null, false, 0];
    copy.hidden = download.hidden = true; // until it is known how much there is
    tellFresh();
    show(place, h("p", { class: "hint" }, "Loading…"));
    const path = sent ? sent.path : `api/jobs/${encodeURIComponent(job)}/logs/${key}`;
    const query = sent ? { file: sent.file } : { cluster };
    download.href = makeUrl(`${path}/file`, query).href;
    source = openSource(path, query, { changed: draw, moved, failed, anew, added });
    const name_ = `${STREAMS[key]} of ${label}`;
    screen = makeScreen({ label: name_, source, makeLink: makeLineLink, whenScrolled: hearScroll, whenPicked: pickLine, whenResized: draw });
    copyAll = catchCopying(screen, source);
    search = makeSearch({ source, screen, show: showHit, whenClosed: () => screen.node.focus() });
    show(searchPlace, search.node);
    if (wanted && !wanted.isPlace) Object.assign(screen.marks, { from: wanted.first, to: wanted.last });
    if (wrap.checked) screen.setWrap(true);
    return close;
  }

  function close() {
    source.close();
    screen.close();
    search.forget();
  }

  function draw() {
    const found = source.facts;
    if (found === null) return;
    tellFacts(found);
    list.hidden = found.merged || sent !== null;
    if (!found.exists || found.size_bytes === 0) return showNone(found);
    if (!isShown) show(place, screen.node);
    isShown = true;
    if (wanted) goToWanted();
    else if (isFollowing) screen.showEnd();
    else screen.draw();
    pages.hidden = !screen.isWrapped || source.total <= screen.body.childElementCount;
    search.paint();
  }

  // A line that the address names is shown as soon as the server has counted so far.
  function goToWanted() {
    if (source.total < wanted.first && !source.isCounted) return screen.showEnd();
    const { first, isPlace } = wanted;
    wanted = null;
    if (isPlace && !screen.isWrapped) screen.moveTo(first - 1);
    else screen.showLine(first);
  }

  function tellFacts(found) {
    const percent = Math.floor((100 * found.counted_bytes) / Math.max(1, found.size_bytes));
    const counted = source.isCounted ? writeCount(source.total, "line") : `counting lines, ${percent} %`;
    const size = `${counted}, ${writeBytes(found.size_bytes)}`;
    setText(facts, found.exists ? `${size}${found.merged ? " of output and errors" : ""}${found.ended ? "" : ", so far"}` : "");
    const written = found.modified_at ? writeTime(found.modified_at) : "never";
    setAttribute(facts, "title", found.path && `${found.path}\nlast written ${written}`);
    copy.hidden = download.hidden = !found.exists;
  }

  function showNone(found) {
    if (mayTurn && found.ended) {
      mayTurn = false;
      return tabs.choose("stdout", true);
    }
    isShown = false;
    const empty = `The file is empty${found.ended ? ": the job has written nothing here" : " so far. What the job writes appears here by itself"}.`;
    const missing = `There is no file${found.path ? ` at ${found.path}` : ""}: the job wrote none, or it was removed.`;
    showEmpty(place, found.exists ? empty : found.ended ? missing : "There is no log yet. It appears here as soon as the job has begun to write.");
  }

  function failed(problem) {
    if (isShown && problem.status !== 403 && problem.status !== 404) {
      setText(facts, `The log could not be read: ${problem.message}. Trying again.`);
      return;
    }
    isShown = false;
    showProblem(place, `the log of ${label}`, problem, () => {
      close();
      open(place, key);
    });
  }

  function anew() {
    notify(`The log of ${label} was written anew; this is the new one.`, { kind: "told", lasts_ms: 6000 });
    [isFollowing, unseen] = [true, 0];
    screen.marks = { from: 0, to: 0, hit: 0 };
    search.reset();
  }

  // Lines from one on have other numbers than was guessed: the reader stays at the same ones.
  function moved(lines, from) {
    if (screen.top + 1 >= from) screen.top += lines;
    if (screen.wrapFirst >= from) screen.wrapFirst += lines;
    if (isShown && !isFollowing) screen.moveTo(screen.top);
  }

  function setWrap() {
    screen.setWrap(wrap.checked);
    draw();
  }

  // Some hundred lines are printed, whole, and which these are.
  function preparePrint() {
    if (!isShown) return;
    screen.setWrap(true);
    const [first, last] = [screen.body.firstElementChild, screen.body.lastElementChild].map((row) => Number(row?.dataset.key ?? 0).toLocaleString("en"));
    setText(printed, `Lines ${first} to ${last}, which are around those in sight; “Download” gives all.`);
    printed.hidden = false;
  }

  function endPrint() {
    printed.hidden = true;
    screen.setWrap(wrap.checked);
  }

  // --- follow ---

  function added(lines) {
    if (spoken.checked) say(`${writeCount(lines, "new line")}: ${toPlain(source.lines.get(source.total)?.shown ?? "")}`);
    if (screen.held().length > 0) isFollowing = false; // nothing moves while somebody selects
    if (!isFollowing) unseen += lines;
    tellFresh();
  }

  function tellFresh() {
    fresh.hidden = isFollowing || unseen === 0;
    setText(fresh, `↓ ${writeCount(unseen, "new line")}`);
  }

  function hearScroll() {
    wanted = null;
    isFollowing = screen.isAtEnd();
    if (isFollowing) unseen = 0;
    tellFresh();
    search.paint();
  }

  // Where the reader is stays with the entry of the history: Back leads there again.
  function findPlace() {
    return isFollowing ? undefined : { job, stream: key, line: Math.round(screen.top) + 1 };
  }

  function move(how) {
    screen[how]();
    hearScroll();
    screen.node.focus({ preventScroll: true });
  }

  function goToEnd() {
    if (screen.held().length > 0) getSelection().removeAllRanges();
    move("showEnd");
  }

  // --- lines with an address ---

  function makeLineLink(number) {
    const { parts, query } = readAddress();
    return makeLink(parts, { ...Object.fromEntries(query), log: job, stream: key, lines: `L${number}` });
  }

  function pickLine(number, isRange) {
    if (number >= source.firstGuessed) return;
    const other = (isRange && screen.marks.from) || number;
    showMarked(Math.min(number, other), Math.max(number, other));
  }

  function showMarked(first, last) {
    Object.assign(screen.marks, { from: first, to: last });
    screen.draw();
    if (hasPlace) changeQuery({ log: job, stream: key, lines: first === last ? `L${first}` : `L${first}-${last}` });
  }

  // Show lines, marked, as their address does.
  function showLines(first, last = first) {
    isFollowing = false;
    showMarked(first, last);
    screen.showLine(first);
    hearScroll();
  }

  function showHit(line) {
    screen.showLine(line, true);
    hearScroll();
  }

  function hearKey(event) {
    const isFind = (event.ctrlKey || event.metaKey) && event.key === "f";
    const isSlash = event.key === "/" && !event.ctrlKey && !event.metaKey && event.target.tagName !== "INPUT";
    if (!isFind && !isSlash) return;
    event.preventDefault();
    event.stopPropagation();
    search.open();
  }

  const ending = new AbortController();
  addEventListener("beforeprint", preparePrint, ending);
  addEventListener("afterprint", endPrint, ending);
  const stopHearing = hearChanges(["job"], (changes) => {
    if (changes.some(({ id, row }) => id === job || row?.job_id === job)) source.poll();
  });
  return {
    node,
    showLines,
    close: () => {
      ending.abort();
      stopHearing();
      tabs.close();
    },
  };
}

const makeButton = (text, onclick, more) => h("button", { onclick, ...more }, text);

// Read which stream and lines of this job the address names: ?log=42&stream=stderr&lines=L120-140.
function readPlace(job) {
  const { query } = readAddress();
  if (query.has("log") && query.get("log") !== String(job)) return {};
  const stream = query.get("stream") in STREAMS ? query.get("stream") : undefined;
  const [, first, last] = /^L(\d{1,15})(?:-L?(\d{1,15}))?$/.exec(query.get("lines") ?? "") ?? [];
  if (!first) return { stream };
  return { stream, first: Math.max(1, Number(first)), last: Math.max(Number(first), Number(last ?? first)) };
}
