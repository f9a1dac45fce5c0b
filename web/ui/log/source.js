// The lines of one log that are in memory: those around what is looked at, and never all of a long one.
//
// A line has its number as key. Until the server has counted all lines, those at the end have numbers that are only
// guessed from the size; they are put right as soon as it has, and `whenMoved` hears by how much.

import { get } from "../core/api.js";
import { shownOf, toPlain } from "./ansi.js";

const ASK_LINES = 400;
const LIVE_MS = 1000;
const WAITING_MS = 3000;
const COUNTING_MS = 200;
const MOST_LINES = 8000;
const MOST_CHARS = 8_000_000;
const LONG_BYTES = 100_000; // a last line that is longer is not read again from its beginning

// Open a log. `path` is that of its operations, `query` goes with each call.
//
// `hear` has changed(), moved(lines), failed(problem), anew() and added(count). Returns the source; `facts` is what the
// server says of the file, null before its first answer.
export function openSource(path, query, hear) {
  const source = { path, query, facts: null, lines: new Map(), total: 0, isCounted: false, firstGuessed: Infinity, problem: null };
  const state = { abort: new AbortController(), next: 0, timer: 0, wanted: null, isAsking: false, isPolling: false, chars: 0 };

  const ask = (more) => get(path, { ...query, ...more }, { signal: state.abort.signal });

  function keepFacts(found) {
    if (source.facts && source.facts.file_id !== found.file_id) {
      Object.assign(source, { lines: new Map(), isCounted: false, total: 0, firstGuessed: Infinity });
      state.chars = 0;
      source.facts = null;
      hear.anew();
      return false;
    }
    source.facts = found;
    return true;
  }

  function setLine(number, line) {
    const known = source.lines.get(number);
    if (known) state.chars -= known.shown.length;
    const shown = shownOf(line);
    state.chars += shown.length;
    source.lines.set(number, { offset: line.offset, size_bytes: line.size_bytes, left_out_bytes: line.left_out_bytes, shown });
  }

  // Take lines into memory whose first has this number.
  function setLines(first, lines) {
    lines.forEach((line, at) => setLine(first + at, line));
  }

  // --- the end ---------------------------------------------------------------------------------------------------------

  async function loadEnd() {
    const found = await ask({ lines: ASK_LINES });
    keepFacts(found);
    state.next = found.next_offset;
    if (found.first_line !== null && found.line_count !== null) {
      finishCounting(found.line_count);
      setLines(found.first_line, found.lines);
    } else guessNumbers(found);
    hear.changed();
  }

  function guessNumbers(found) {
    const read = found.lines.reduce((sum, line) => sum + line.size_bytes + 1, 0);
    const mean = Math.max(1, read / Math.max(1, found.lines.length));
    source.total = Math.max(found.lines.length, Math.round(found.size_bytes / mean));
    source.firstGuessed = source.total - found.lines.length + 1;
    setLines(source.firstGuessed, found.lines);
  }

  function finishCounting(total) {
    if (!source.isCounted && source.firstGuessed !== Infinity) {
      const moved = total - source.total;
      const lines = [...source.lines].map(([number, line]) => [number >= source.firstGuessed ? number + moved : number, line]);
      source.lines = new Map(lines);
      source.firstGuessed = Infinity;
      hear.moved(moved);
    }
    Object.assign(source, { total, isCounted: true });
  }

  // --- what is written meanwhile, and counting -----------------------------------------------------------------------------

  async function poll() {
    if (state.isPolling) return;
    state.isPolling = true;
    clearTimeout(state.timer);
    const begun_ms = performance.now();
    try {
      if (source.facts === null) await loadEnd();
      else if (!document.hidden) await readMore();
      if (source.problem) {
        source.problem = null;
        hear.changed();
      }
    } catch (problem) {
      if (state.abort.signal.aborted) return;
      source.problem = problem;
      hear.failed(problem);
    }
    state.isPolling = false;
    const wait_ms = findPause();
    // A log on another machine is looked at less often, as long as it takes.
    if (wait_ms !== null) state.timer = setTimeout(poll, Math.max(wait_ms, source.isCounted ? 3 * (performance.now() - begun_ms) : 0));
  }

  function findPause() {
    const { facts } = source;
    if (document.hidden) return null;
    if (facts === null) return source.problem && source.problem.status !== 0 && source.problem.status < 500 ? null : WAITING_MS;
    if (facts.exists && !source.isCounted) return COUNTING_MS;
    if (facts.ended && state.next >= facts.size_bytes) return null;
    if (facts.ended && !facts.exists) return null;
    if (facts.ended && state.isLastRead) return null;
    return facts.exists ? LIVE_MS : WAITING_MS;
  }

  async function readMore() {
    const last = source.lines.get(source.total);
    const isLong = last !== undefined && last.offset === state.next && last.size_bytes > LONG_BYTES;
    const count = !source.isCounted;
    const found = isLong ? await ask({ lines: 2, count }) : await ask({ offset: state.next, lines: ASK_LINES, count });
    if (!keepFacts(found)) return loadEnd();
    if (!source.isCounted && found.line_count === null) {
      appendGuessed(found);
      return hear.changed();
    }
    const before = source.total;
    const wasCounted = source.isCounted;
    // All that was written since has its numbers; what is not read yet follows with the next look.
    if (!wasCounted) finishCounting(found.line_count - countBehind(found));
    if (found.first_line !== null) setLines(found.first_line, found.lines);
    source.total = Math.max(found.line_count ?? source.total, source.total);
    state.next = found.next_offset;
    state.isLastRead = found.ended && before === source.total && found.next_offset + (found.lines.at(-1)?.size_bytes ?? 0) >= found.size_bytes;
    if (wasCounted && source.total > before) hear.added(source.total - before);
    dropFar();
    hear.changed();
  }

  // Count the lines that were written since the end was read the last time.
  function countBehind(found) {
    const isSame = found.lines.length > 0 && source.lines.get(source.total)?.offset === found.lines[0].offset;
    const rest = found.first_line === null ? 0 : Math.max(0, found.line_count - (found.first_line + found.lines.length - 1));
    return found.lines.length - (isSame ? 1 : 0) + rest;
  }

  function appendGuessed(found) {
    if (found.lines.length === 0) return;
    const isSame = source.lines.get(source.total)?.offset === found.lines[0].offset;
    const first = source.total + (isSame ? 0 : 1);
    setLines(first, found.lines);
    const added = first + found.lines.length - 1 - source.total;
    source.total += added;
    state.next = found.next_offset;
    if (added > 0) hear.added(added);
  }

  // --- lines that are looked at --------------------------------------------------------------------------------------------

  // Have the lines from one to another read, those in sight first. What was asked for before counts no more.
  function want(first, last) {
    state.wanted = { first: Math.max(1, first), last: Math.min(source.total, last) };
    readWanted();
  }

  function findMissing({ first, last }) {
    let from = first;
    while (from <= last && source.lines.has(from)) from += 1;
    if (from > last) return null;
    let to = last;
    while (source.lines.has(to)) to -= 1;
    return { from, to };
  }

  async function readWanted() {
    if (state.isAsking || state.wanted === null || source.facts === null) return;
    const missing = findMissing(state.wanted);
    if (missing === null) return;
    state.isAsking = true;
    let pause_ms = 0;
    try {
      pause_ms = (await readMissing(missing)) ? 0 : COUNTING_MS;
    } catch (problem) {
      if (state.abort.signal.aborted) return;
      pause_ms = WAITING_MS;
      source.problem = problem;
      hear.failed(problem);
    }
    state.isAsking = false;
    dropFar();
    hear.changed();
    if (pause_ms) setTimeout(readWanted, pause_ms);
    else readWanted();
  }

  async function readMissing({ from, to }) {
    const guessed = source.lines.get(source.firstGuessed);
    if (guessed && to === source.firstGuessed - 1 && to - from < ASK_LINES) {
      const found = await ask({ before: guessed.offset, lines: ASK_LINES });
      if (!keepFacts(found)) return loadEnd();
      if (source.isCounted || found.lines.length === 0) return false; // the numbers have come meanwhile
      source.firstGuessed -= found.lines.length;
      setLines(source.firstGuessed, found.lines);
      return true;
    }
    // What is before the first missing line is there: the reader goes down; else up.
    const line = source.lines.has(from - 1) || from === 1 ? from : Math.max(1, Math.max(to - ASK_LINES + 1, from - ASK_LINES / 2));
    const found = await ask({ line, lines: ASK_LINES });
    if (!keepFacts(found)) return loadEnd();
    if (found.first_line !== line) return false;
    setLines(found.first_line, found.lines.slice(0, source.firstGuessed - line));
    return found.lines.length > 0;
  }

  function dropFar() {
    const { wanted } = state;
    if (wanted === null || (source.lines.size <= MOST_LINES && state.chars <= MOST_CHARS)) return;
    const middle = (wanted.first + wanted.last) / 2;
    const numbers = [...source.lines.keys()].sort((one, other) => Math.abs(other - middle) - Math.abs(one - middle));
    for (const number of numbers) {
      if (source.lines.size <= MOST_LINES / 2 && state.chars <= MOST_CHARS / 2) break;
      if (number >= wanted.first && number <= wanted.last) break;
      state.chars -= source.lines.get(number).shown.length;
      source.lines.delete(number);
    }
    // Guessed numbers must be without a gap up to the end.
    while (source.firstGuessed < source.total && !source.lines.has(source.firstGuessed)) source.firstGuessed += 1;
  }

  // Read lines from one to another for copying: what a reader sees of each.
  async function readTexts(first, last) {
    const texts = [];
    for (let at = first; at <= last; ) {
      if (source.lines.has(at)) {
        texts.push(toPlain(source.lines.get(at).shown));
        at += 1;
        continue;
      }
      const found = await ask({ line: at, lines: Math.min(5000, last - at + 1) });
      if (found.first_line !== at || found.lines.length === 0) throw new Error("The lines are not counted up to there yet");
      texts.push(...found.lines.map((line) => toPlain(shownOf(line))));
      at += found.lines.length;
    }
    return texts;
  }

  const wake = () => document.hidden || poll();
  document.addEventListener("visibilitychange", wake, { signal: state.abort.signal });
  poll();
  return Object.assign(source, {
    want,
    ask,
    poll,
    readTexts,
    signal: state.abort.signal,
    close: () => {
      state.abort.abort();
      clearTimeout(state.timer);
    },
  });
}
