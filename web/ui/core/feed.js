// The stream of changes: read by fetch, so that its status is seen and its last id can be sent. Runs in the shared
// worker, or in the page where there is none.

const SILENCE_MS = 17_000; // a sign of life comes every 5 s
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

// Follow the stream for good. `tell` hears { type: "live", start }, { type: "changes", changes }, { type: "reset" },
// { type: "down", status } and { type: "signed-out" }. Returns { retry, stop }.
export function followFeed(url, tell) {
  const state = { last: null, wait_ms: FIRST_WAIT_MS, timer: 0, stopped: false, abort: null, wake: null };
  run(url, tell, state);
  return {
    retry: () => state.wake?.(),
    stop: () => {
      state.stopped = true;
      state.abort?.abort();
      state.wake?.();
    },
  };
}

async function run(url, tell, state) {
  while (!state.stopped) {
    let status = 0;
    try {
      status = await readOnce(url, tell, state);
    } catch {
      // Cut off, or never reached: told below.
    }
    clearTimeout(state.timer);
    if (state.stopped) return;
    tell(status === 401 ? { type: "signed-out" } : { type: "down", status });
    await pause(state);
  }
}

function pause(state) {
  return new Promise((resolve) => {
    const jitter = 0.75 + Math.random() / 2;
    const timer = setTimeout(resolve, state.wait_ms * jitter);
    state.wait_ms = Math.min(state.wait_ms * 2, LONGEST_WAIT_MS);
    state.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

async function readOnce(url, tell, state) {
  state.abort = new AbortController();
  const headers = { Accept: "text/event-stream", ...(state.last ? { "Last-Event-ID": state.last } : {}) };
  const answer = await fetch(url, { headers, signal: state.abort.signal, cache: "no-store" });
  if (!answer.ok) return answer.status;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = makeParser();
  let isLive = false;
  for (;;) {
    clearTimeout(state.timer);
    state.timer = setTimeout(() => state.abort.abort(), SILENCE_MS);
    const { done, value } = await reader.read();
    if (done) return 200;
    const events = parser(value);
    if (events.length === 0) continue;
    const before = state.last;
    state.last = events.findLast((event) => event.id)?.id ?? state.last;
    if (!isLive) {
      isLive = true;
      state.wait_ms = FIRST_WAIT_MS;
      tell({ type: "live", start: before ?? events[0].id });
    }
    tellEvents(events, tell);
  }
}

function tellEvents(events, tell) {
  let changes = [];
  for (const event of events) {
    if (event.event === "reset") {
      changes = []; // what came before is read anew as well
      tell({ type: "reset", position: event.id });
    } else if (event.data) {
      changes.push({ ...parseJson(event.data), position: event.id });
    }
  }
  if (changes.length > 0) tell({ type: "changes", changes });
}

// Return a function that takes pieces of a stream and returns the events that are whole (HTML 9.2.6).
function makeParser() {
  let rest = "";
  return (piece) => {
    rest += piece;
    const parts = rest.split(/\r?\n\r?\n/);
    rest = parts.pop();
    return parts.map(parseEvent).filter((event) => event.id !== undefined || event.data !== undefined);
  };
}

function parseEvent(text) {
  const event = {};
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    event[name] = name === "data" && event.data !== undefined ? `${event.data}\n${value}` : value;
  }
  return event;
}

// Compare two positions of the feed; null where they belong to different lives of the server.
export function comparePositions(one, other) {
  const [life, number] = one.split("-");
  const [otherLife, otherNumber] = other.split("-");
  return life === otherLife ? Number(number) - Number(otherNumber) : null;
}

const LONG_INTEGER = /[[:,]\s*-?\d{16,}\s*[,\]}]/;

// Parse JSON. A whole number that JavaScript cannot hold, such as a seed of 64 bits, is a text with all its digits.
export function parseJson(text) {
  const keepDigits = (_, value, { source }) => (Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? source : value);
  return LONG_INTEGER.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
}
