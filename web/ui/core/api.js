// Calls of the server's operations: what is wrong, signing in again, and the same call as a line for the terminal.

import { parseJson } from "./feed.js";

// The folder that the page lies in, whatever a proxy has put before it.
export const base = new URL(".", document.baseURI);

// What the server refused, with its own words; status 0 where it gave no answer.
class Refused extends Error {
  constructor(status, message, problems = [], details = {}) {
    super(message);
    Object.assign(this, { name: "Refused", status, problems, details });
  }
}

const signIn = { ask: null };

// Say how somebody signs in; the promise is kept when that is done.
export function whenSignedOut(ask) {
  signIn.ask = ask;
}

// Return the URL of an operation: makeUrl("api/v1/jobs", { limit: 10 }).
export function makeUrl(path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

// Read what an operation answers, parsed. Throws Refused.
export async function get(path, query, options = {}) {
  return (await request("GET", path, { query, ...options })).data;
}

// Read it with what stands beside it: { data, change, total, etag, headers }.
export function getWhole(path, query, options = {}) {
  return request("GET", path, { query, ...options });
}

// Change something: the parsed answer. `key` makes asking twice harmless; `version` is what the caller has seen.
export async function send(method, path, body, options = {}) {
  return (await request(method, path, { body, ...options })).data;
}

// Make a call. Options: query, body, key, version, signal, accept, as ("blob": bytes, whatever they are).
export async function request(method, path, options = {}) {
  // A browser takes such a part for a step to another folder: what was asked would be another operation.
  if (path.split("/").some((part) => /^\.\.?$/.test(part))) throw new Refused(404, "Nothing has this name");
  const url = makeUrl(path, options.query);
  const headers = { Accept: options.accept ?? "application/json" };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.key) headers["Idempotency-Key"] = options.key;
  if (options.version) headers["If-Match"] = `"${options.version}"`;
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  for (;;) {
    const answer = await fetchOnce(url, { method, headers, body, signal: options.signal });
    if (answer.status === 401 && signIn.ask && !options.isSigningIn) {
      await signIn.ask(); // one sign-in for all calls that wait; then the same call again
      continue;
    }
    return await readAnswer(answer, options);
  }
}

async function fetchOnce(url, init) {
  try {
    return await fetch(url, init);
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Refused(0, "The server gave no answer");
  }
}

async function readAnswer(answer, options) {
  if (!answer.ok) throw await readRefusal(answer);
  const data = await (options.as === "blob" ? answer.blob() : readText(answer)).catch((problem) => {
    throw problem.name === "AbortError" || problem instanceof Refused ? problem : new Refused(0, "The answer was cut off");
  });
  return {
    data,
    change: answer.headers.get("x-change"),
    total: Number(answer.headers.get("x-total-count") ?? Number.NaN),
    age_s: Number(answer.headers.get("x-snapshot-age") ?? Number.NaN),
    etag: answer.headers.get("etag")?.replace(/^W\//, "").replaceAll('"', "") ?? null,
    headers: answer.headers,
  };
}

async function readText(answer) {
  const text = await answer.text();
  const kind = answer.headers.get("content-type") ?? "";
  // A proxy's own page, such as its sign-in.
  if (kind.includes("html")) throw new Refused(0, "Something between this browser and the server has answered, not the server");
  return kind.includes("json") ? parseJson(text) : text;
}

async function readRefusal(answer) {
  const text = await answer.text();
  let data = {};
  try {
    data = JSON.parse(text) ?? {};
  } catch {
    // A proxy's own page, such as that of a gateway without a server.
    return new Refused(answer.status, `The answer is ${answer.status} ${answer.statusText}`.trim());
  }
  const detail = data.detail ?? data.error?.message ?? data.message ?? data.error_description ?? text;
  const problems = Array.isArray(detail) ? detail : readFields(data.error?.details);
  return new Refused(answer.status, Array.isArray(detail) ? detail.map(describeProblem).join("; ") : detail, problems, data);
}

// Of what the cluster API refuses, each field is named: { fields: { "filter.user": "is too long" } }.
function readFields(details) {
  return Object.entries(details?.fields ?? {}).map(([place, msg]) => ({ loc: place.split("."), msg }));
}

// Describe one problem of a request: its place and what is wrong.
export function describeProblem(problem) {
  const place = (problem.loc ?? []).filter((part) => part !== "body" && part !== "query").join(".");
  return place ? `${place}: ${problem.msg}` : problem.msg;
}

// Make a key for a change that may be asked for twice. Works over plain http too.
export function makeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

// Return a call as a line for the terminal.
export function formatCurl(method, path, body, query) {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  if (body !== undefined) words.push("-H", "Content-Type: application/json", "-d", JSON.stringify(body));
  words.push(makeUrl(path, query).href);
  return words.map(quote).join(" ");
}
