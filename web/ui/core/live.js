// What the page knows live: lists that follow the stream of changes, and whether the stream is there.

import { base, getWhole } from "./api.js";
import { comparePositions, followFeed } from "./feed.js";
import { makeCalm, makeListeners, oncePerFrame } from "./dom.js";

const HIDDEN_MS = 5000; // so long changes are collected while the page is hidden: its title follows them

const AGAIN_MS = 5000; // after which what could not be read is asked for again

// Whether a problem may be gone after a while: no answer, too many calls, or the server's own fault.
const isPassing = ({ status }) => status === 0 || status === 429 || status >= 500;

const NOT_YET = { live: false, since: Date.now(), status: null };
const feed = {
  port: null,
  start: null,
  batches: makeListeners(),
  gaps: makeListeners(),
  states: makeListeners(),
  looks: makeListeners(), // somebody looks at the page again
  state: NOT_YET,
};

// Join the stream of this browser. Where there are no shared workers, the page reads a stream of its own.
export function joinFeed() {
  const url = new URL("api/events?view=s9s&heartbeat_s=5", base).href;
  if (typeof SharedWorker === "function") {
    const worker = new SharedWorker(new URL("../workers/feed.js", import.meta.url), { type: "module", name: "sluice" });
    feed.port = worker.port;
    worker.port.addEventListener("message", ({ data }) => hear(data));
    worker.port.start();
    worker.port.postMessage({ type: "start", url });
    addEventListener("pagehide", () => worker.port.postMessage({ type: "leave" }));
    addEventListener("pageshow", (event) => event.persisted && location.reload());
  } else {
    joinAlone(url);
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    feed.looks.tell();
    retryFeed();
  });
  addEventListener("online", retryFeed);
}

function joinAlone(url) {
  let own = null;
  const follow = () => {
    if (!document.hidden && own === null) own = followFeed(url, hear);
    else if (document.hidden && own !== null) {
      own.stop();
      own = null;
    }
  };
  feed.port = { postMessage: ({ type }) => type === "retry" && own?.retry() };
  document.addEventListener("visibilitychange", follow);
  follow();
}

// Try at once to read the stream again, where it is down.
export function retryFeed() {
  if (!feed.state.live) feed.port?.postMessage({ type: "retry" });
}

function hear(message) {
  if (message.type === "changes") feed.batches.tell(message.changes);
  else if (message.type === "live" || message.type === "reset") {
    feed.start = message.type === "live" ? message.start : message.position;
    setState({ live: true, status: null });
    feed.gaps.tell(message.type === "reset");
  } else {
    setState({ live: false, status: message.type === "signed-out" ? 401 : message.status });
  }
}

function setState(state) {
  if (state.live === feed.state.live && state.status === feed.state.status) return;
  const since = state.live === feed.state.live ? feed.state.since : Date.now();
  feed.state = { ...state, since };
  feed.states.tell(feed.state);
}

// Be told whether the stream is there: { live, since (ms), status }. Returns what ends it.
export function watchFeed(watcher) {
  watcher(feed.state);
  return feed.states.listen(watcher);
}

// Hear changes of some kinds, as they come; `hearGap` is told when some may have been missed. Returns what ends it.
export function hearChanges(kinds, hearBatch, hearGap = () => {}) {
  const endBatches = feed.batches.listen((changes) => {
    const own = changes.filter((change) => kinds.includes(change.kind));
    if (own.length > 0) hearBatch(own);
  });
  const endGaps = feed.gaps.listen(hearGap);
  return () => {
    endBatches();
    endGaps();
  };
}

// Make a list that stays as the server's is.
//
//   kinds    the kinds of its changes
//   load     reads it: async ({ signal, showSome }) => ({ rows, change }), rows as [key, row] pairs; a long list may
//            show what it has so far, the first time it is read
//   getKey   the key of a change, or null for one that is not of this list
//   getRow   its row; by default the change's own
//   keeps    whether a row stays that the server has forgotten: (row)
//
// Returns { rows (Map), state, listen(changed keys or null for all), reload, close }.
export function makeLiveList({ kinds, load, getKey = ({ id }) => id, getRow = ({ row }) => row, keeps = () => false }) {
  const list = { rows: new Map(), state: "loading", problem: null };
  const listeners = makeListeners();
  let position = null; // up to which the rows are right
  let early = []; // changes that came while the list was read
  let changed = new Set();
  let abort = null;
  let timer = 0;
  let retry = 0;

  const tellNow = () => {
    clearTimeout(timer);
    timer = 0;
    const keys = changed;
    changed = new Set();
    listeners.tell(keys);
  };
  const tellSoon = oncePerFrame(tellNow);
  const tell = () => {
    if (!document.hidden) tellSoon();
    else timer ||= setTimeout(tellNow, HIDDEN_MS);
  };

  function apply(change) {
    const key = getKey(change);
    if (key === null || key === undefined) return;
    const row = change.action === "deleted" ? null : getRow(change);
    const known = list.rows.get(key);
    if (row !== null && row !== undefined) list.rows.set(key, row);
    else if (known !== undefined && !keeps(known)) list.rows.delete(key);
    changed.add(key);
  }

  const isLater = (change) => {
    const order = position === null ? null : comparePositions(change.position, position);
    return order === null || order > 0;
  };

  function hearBatch(own) {
    if (abort !== null) early.push(...own);
    else own.filter(isLater).forEach(apply);
    if (changed.size > 0) tell();
  }

  // The stream has begun (again): what the list missed before is read anew.
  function hearGap(mustReload) {
    const order = position === null ? 0 : comparePositions(position, feed.start);
    if (mustReload || order === null || order < 0) reload();
  }

  async function reload() {
    abort?.abort();
    clearTimeout(retry);
    abort = new AbortController();
    const { signal } = abort;
    const showSome = (rows) => {
      if (signal.aborted || list.state === "ready") return;
      Object.assign(list, { state: "partial", rows: new Map(rows) });
      changed = new Set(list.rows.keys());
      tellNow();
    };
    try {
      const found = await load({ signal, showSome });
      if (signal.aborted) return;
      position = found.change;
      changed = new Set([...list.rows.keys(), ...found.rows.map(([key]) => key)]);
      list.rows = new Map(found.rows);
      early.filter(isLater).forEach(apply);
      Object.assign(list, { state: "ready", problem: null });
    } catch (problem) {
      if (signal.aborted) return;
      // What was heard meanwhile counts, and what was missed is read as soon as the server answers.
      early.filter(isLater).forEach(apply);
      Object.assign(list, { state: list.state === "ready" ? "ready" : "failed", problem });
      if (isPassing(problem)) retry = setTimeout(reload, AGAIN_MS);
    }
    abort = null;
    early = [];
    tellNow();
    // The stream may have begun after the list was read; then what lies between is missing.
    const order = list.problem || feed.start === null || position === null ? 0 : comparePositions(position, feed.start);
    if (order < 0) reload();
  }

  const stop = hearChanges(kinds, hearBatch, hearGap);
  const stopLooking = feed.looks.listen(() => timer && tellNow());
  reload();
  return Object.assign(list, {
    reload,
    listen: listeners.listen,
    close: () => {
      abort?.abort();
      clearTimeout(retry);
      stop();
      stopLooking();
      listeners.clear();
    },
  });
}

// Return a `load` for makeLiveList that reads one list of the server.
export function loadList(path, query, getKey, pick = (data) => data) {
  return async ({ signal }) => {
    const { data, change } = await getWhole(path, query, { signal });
    return { rows: pick(data).map((row) => [getKey(row), row]), change };
  };
}

// Keep one document fresh: read anew when a change of it is told; with `calm_ms` not more often than that, and only
// while the page is looked at. What no change tells is read every `every_ms`, while the page is looked at and
// `isBusy(value)` says that there is something to come.
export function makeLiveDocument({ kinds, isOwn = () => true, load, calm_ms = 0, every_ms = 0, isBusy = () => true }) {
  const document_ = { value: null, state: "loading", problem: null };
  const listeners = makeListeners();
  let again = false;
  let busy = false;
  let retry = 0;
  const abort = new AbortController();

  async function reload() {
    clearTimeout(retry);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      document_.value = await load({ signal: abort.signal });
      Object.assign(document_, { state: "ready", problem: null });
    } catch (problem) {
      if (abort.signal.aborted) return;
      Object.assign(document_, { state: document_.value === null ? "failed" : "ready", problem });
      if (isPassing(problem)) retry = setTimeout(reload, AGAIN_MS);
    }
    busy = false;
    listeners.tell();
    if (again) {
      again = false;
      reload();
    }
  }

  const calm = makeCalm(reload, calm_ms);
  const hearNext = calm_ms ? calm.ask : reload;
  const stop = hearChanges(kinds, (changes) => changes.some(isOwn) && hearNext(), reload);
  reload();
  const reading = every_ms && setInterval(() => !document.hidden && isBusy(document_.value) && reload(), every_ms);
  return Object.assign(document_, {
    reload,
    listen: listeners.listen,
    close: () => {
      abort.abort();
      clearTimeout(retry);
      clearInterval(reading);
      calm.stop();
      stop();
      listeners.clear();
    },
  });
}
