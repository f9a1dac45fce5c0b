// The lines of one log that are in memory: those around what is looked at, and never all of a long one.
//
// A line has its number as key. Until the server has counted all lines, those at the end have numbers that are only
// guessed from the size; they are put right as soon as it has, and `hear.moved` hears by how much.

import { get } from "../core/api.js";
import { shownOf } from "./ansi.js";

const ASK_LINES = 400;
const LIVE_MS = 1000;
const WAITING_MS = 3000;
const COUNTING_MS = 200;
const MOST_LINES = 8000;
const MOST_CHARS = 8_000_000;
const BEHIND_BYTES = 100_000; // with more to read, or a last line as long, only the end is read

// Open a log. `path` is that of its operations, `query` goes with each call.
//
// `hear` has changed(), moved(lines, from), failed(problem), anew() and added(count). Returns the source; `facts` is what the
// server says of the file, null before its first answer; `isHeld(number)` tells which lines must stay.
export function openSource(path, query, hear) {
  const source = { path, query, facts: null, lines: new Map(), total: 0, isCounted: false, firstGuessed: Infinity, isHeld: () => false };
  const closing = new AbortController();
  const { signal } = closing;
  let [next, timer, wanted, isAsking, isPolling, problem] = [0, 0, null, false, false, null];

  // Ask for lines; null where the file is another one now, whose end is read then.
  async function ask(more) {
    const found = await get(path, { ...query, ...more }, { signal });
    const isSame = source.facts === null || source.facts.file_id === found.file_id;
    source.facts = found;
    if (isSame) return found;
    Object.assign(source, { lines: new Map(), isCounted: false, total: 0, firstGuessed: Infinity });
    hear.anew();
    await loadEnd();
    return null;
  }

  function setLines(first, lines) {
    lines.forEach((line, at) => {
      const { offset, size_bytes, left_out_bytes } = line;
      source.lines.set(first + at, { offset, size_bytes, left_out_bytes, shown: shownOf(line) });
    });
  }

  function fail(found) {
    problem = found;
    if (!signal.aborted) hear.failed(found);
  }

  // --- the end, what is written meanwhile, and counting ---

  async function loadEnd() {
    const found = await ask({ lines: ASK_LINES });
    if (found === null) return;
    next = found.next_offset;
    source.isCounted = found.first_line !== null && found.line_count !== null;
    if (source.isCounted) source.total = found.line_count;
    else {
      const read = found.lines.reduce((sum, line) => sum + line.size_bytes + 1, 0);
      source.total = Math.max(found.lines.length, Math.round((found.size_bytes * found.lines.length) / Math.max(1, read)));
      source.firstGuessed = source.total - found.lines.length + 1;
    }
    setLines(source.isCounted ? found.first_line : source.firstGuessed, found.lines);
    hear.changed();
  }

  async function readMore() {
    const isBehind = source.isCounted && source.facts.size_bytes - next > BEHIND_BYTES;
    const found = await ask(isBehind ? { lines: ASK_LINES / 10 } : { offset: next, lines: ASK_LINES, count: !source.isCounted });
    if (found === null) return;
    const isKnown = found.first_line !== null && (source.isCounted || found.line_count !== null);
    const isBegun = found.lines.length > 0 && found.lines[0].offset === source.lines.get(source.total)?.offset;
    const guessed = source.total + (isBegun ? 0 : 1);
    if (isKnown && !source.isCounted) endGuessing(found.first_line - guessed);
    const before = source.total;
    if (isKnown || !source.isCounted) {
      const first = isKnown ? found.first_line : guessed;
      setLines(first, found.lines);
      source.total = Math.max(before, first + found.lines.length - 1, found.line_count ?? 0);
      next = found.next_offset;
    }
    if (source.total > before) hear.added(source.total - before);
    dropFar();
    hear.changed();
  }

  function endGuessing(moved) {
    source.lines = new Map([...source.lines].map(([number, line]) => [number >= source.firstGuessed ? number + moved : number, line]));
    const from = source.firstGuessed;
    Object.assign(source, { total: source.total + moved, firstGuessed: Infinity, isCounted: true });
    hear.moved(moved, from);
  }

  async function poll() {
    if (isPolling) return;
    isPolling = true;
    clearTimeout(timer);
    const begun_ms = performance.now();
    try {
      if (source.facts === null) await loadEnd();
      else if (!document.hidden) await readMore();
      if (problem) hear.changed();
      problem = null;
    } catch (found) {
      fail(found);
    }
    isPolling = false;
    const wait_ms = signal.aborted ? null : findPause();
    // A log on another machine is looked at less often, as long as it takes.
    if (wait_ms !== null) timer = setTimeout(poll, Math.max(wait_ms, source.isCounted ? 3 * (performance.now() - begun_ms) : 0));
  }

  function findPause() {
    const { facts } = source;
    if (document.hidden) return null;
    if (facts === null) return problem?.status > 0 && problem.status < 500 ? null : WAITING_MS;
    if (facts.exists && !source.isCounted) return COUNTING_MS;
    const last = source.lines.get(source.total);
    const isRead = !facts.exists || Math.max(next, last ? last.offset + last.size_bytes : 0) >= facts.size_bytes;
    if (facts.ended && isRead && !problem) return null;
    return facts.exists && !problem ? LIVE_MS : WAITING_MS;
  }

  // --- lines that are looked at ---

  // Have the lines from one to another read, those in sight first. What was asked for before counts no more.
  function want(first, last) {
    wanted = { first: Math.max(1, first), last: Math.min(source.total, last) };
    readWanted();
  }

  async function readWanted() {
    if (isAsking || wanted === null || source.facts === null) return;
    let { first: from, last: to } = wanted;
    while (from <= to && source.lines.has(from)) from += 1;
    while (from <= to && source.lines.has(to)) to -= 1;
    if (from > to) return;
    isAsking = true;
    let pause_ms = 0;
    try {
      if (!(await readMissing(from, to))) pause_ms = COUNTING_MS;
    } catch (found) {
      pause_ms = WAITING_MS;
      fail(found);
    }
    isAsking = false;
    if (signal.aborted) return;
    dropFar();
    if (pause_ms < WAITING_MS) hear.changed();
    setTimeout(readWanted, pause_ms);
  }

  async function readMissing(from, to) {
    const guessed = source.lines.get(source.firstGuessed);
    if (guessed && to === source.firstGuessed - 1 && to - from < ASK_LINES) {
      const found = await ask({ before: guessed.offset, lines: ASK_LINES });
      if (!found?.lines.length || source.isCounted) return false; // the numbers have come meanwhile
      source.firstGuessed -= found.lines.length;
      setLines(source.firstGuessed, found.lines);
      return true;
    }
    // What is before the first missing line is there: the reader goes down; else up.
    const line = source.lines.has(from - 1) || from === 1 ? from : Math.max(1, to - ASK_LINES + 1, from - ASK_LINES / 2);
    const found = await ask({ line, lines: ASK_LINES });
    if (found?.first_line !== line) return false;
    setLines(line, found.lines.slice(0, source.firstGuessed - line));
    return found.lines.length > 0;
  }

  // Keep what is near to the reader, the last line, and what must stay.
  function dropFar() {
    let chars = [...source.lines.values()].reduce((sum, line) => sum + line.shown.length, 0);
    if (wanted === null || (source.lines.size <= MOST_LINES && chars <= MOST_CHARS)) return;
    const measure = (number) => Math.abs(number - (wanted.first + wanted.last) / 2);
    for (const number of [...source.lines.keys()].sort((one, other) => measure(other) - measure(one))) {
      const isFew = source.lines.size <= MOST_LINES / 2 && chars <= MOST_CHARS / 2;
      if (isFew || (number >= wanted.first && number <= wanted.last)) break;
      if (number === source.total || source.isHeld(number)) continue;
      chars -= source.lines.get(number).shown.length;
      source.lines.delete(number);
    }
    // Guessed numbers must be without a gap up to the end.
    while (source.firstGuessed < source.total && !source.lines.has(source.firstGuessed)) source.firstGuessed += 1;
  }

  document.addEventListener("visibilitychange", () => document.hidden || poll(), { signal });
  poll();
  const close = () => {
    closing.abort();
    clearTimeout(timer);
  };
  return Object.assign(source, { want, poll, signal, close });
}
