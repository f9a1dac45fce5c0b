// A client of the S9S cluster API over fetch, for node from version 18 on and for browsers.
//
// Names of arguments may be written as in JavaScript (cpusPerNode) or as in the API (cpus_per_node); answers are those
// of the API, as it documents them.

const RETRIED_STATUSES = [429, 503];
const ENDED = new Set([
  "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
  "REVOKED", "SPECIAL_EXIT", "LAUNCH_FAILED", "RECONFIG_FAIL",
]);
const PAUSES_MS = [200, 500, 1000, 2000, 5000];
// Nothing comes for so long only where the connection is lost: the server sends a comment more often.
const SILENCE_MS = 60000;

/** A refusal of the server, or no answer of it; `code` tells which, `details` what about. */
export class S9SError extends Error {
  constructor(message, { status = null, code = "", details = {}, requestId = null, retryAfterMs = null, cause } = {}) {
    super(message, { cause });
    this.name = new.target.name;
    Object.assign(this, { status, code, details, requestId, retryAfterMs });
  }
}
export class InvalidRequest extends S9SError {}
export class ValidationError extends InvalidRequest {}
export class AuthenticationFailed extends S9SError {}
export class PermissionDenied extends S9SError {}
export class ResourceNotFound extends S9SError {}
export class ResourceConflict extends S9SError {}
export class RateLimitExceeded extends S9SError {}
export class SlurmError extends S9SError {}
export class ConnectionFailed extends S9SError {}
export class WaitTimeout extends S9SError {}

const BY_CODE = {
  INVALID_REQUEST: InvalidRequest,
  VALIDATION_ERROR: ValidationError,
  AUTHENTICATION_FAILED: AuthenticationFailed,
  PERMISSION_DENIED: PermissionDenied,
  RESOURCE_NOT_FOUND: ResourceNotFound,
  RESOURCE_CONFLICT: ResourceConflict,
  RATE_LIMIT_EXCEEDED: RateLimitExceeded,
  SLURM_ERROR: SlurmError,
};

export class S9SClient {
  #token;
  #apiKey;
  #fetch;

  constructor({ baseUrl = "http://127.0.0.1:8000", token, apiKey, timeoutMs = 30000, retries = {}, fetch } = {}) {
    const address = baseUrl.replace(/\/+$/, "");
    this.address = address.endsWith("/v1") ? address : `${address}/v1`;
    this.timeoutMs = timeoutMs;
    this.retries = { count: 3, firstMs: 500, longestMs: 60000, ...retries };
    this.#token = token;
    this.#apiKey = apiKey;
    this.#fetch = fetch ?? globalThis.fetch.bind(globalThis);
    this.jobs = new Jobs(this);
    this.nodes = new Nodes(this);
    for (const name of ["users", "partitions", "reservations", "qos"]) this[name] = new Named(this, name);
    this.exports = new Files(this, "export", "exports");
    this.reports = new Files(this, "reports", "reports");
    this.metrics = new Metrics(this);
    this.alerts = new Alerts(this);
  }

  /** The state of server and cluster, and who calls. */
  status() {
    return this.request("GET", "/status");
  }

  /** Search jobs, nodes, users, partitions, workflows and runs; the best come first. */
  search(q, { type, limit } = {}) {
    return this.request("GET", "/search", { query: { q, type, limit } });
  }

  /** Ask for a path of the API and return the JSON of the answer. */
  async request(method, path, { query, body, headers } = {}) {
    const { response, end } = await this.send(method, path, { query, body, headers });
    try {
      const text = await response.text();
      return text === "" ? null : JSON.parse(text);
    } catch (problem) {
      throw new ConnectionFailed(`The answer did not come whole: ${problem.message}`, { cause: problem });
    } finally {
      end();
    }
  }

  /** Ask for a path, again while the server is busy or out of reach; `end` is to be called when all is read. */
  async send(method, path, { query, body, headers = {}, timeoutMs = this.timeoutMs } = {}) {
    const url = `${this.address}${path}${formatQuery(query)}`;
    const given = { ...this.#credentials(), ...headers };
    if (body !== undefined) given["Content-Type"] = "application/json";
    // A key makes asking twice harmless.
    if (method === "POST" && !given["Idempotency-Key"]) given["Idempotency-Key"] = makeKey();
    for (let attempt = 1; ; attempt += 1) {
      const ending = new AbortController();
      const timer = setTimeout(() => ending.abort(new Error(`no answer for ${timeoutMs} ms`)), timeoutMs);
      const end = () => clearTimeout(timer);
      let response, lost;
      try {
        response = await this.#fetch(url, {
          method, headers: given, signal: ending.signal, body: body === undefined ? undefined : JSON.stringify(body),
        });
        if (response.ok) return { response, end, ending };
      } catch (problem) {
        end();
        lost = new ConnectionFailed(`${method} ${url}: ${(problem.cause ?? problem).message}`, { cause: problem });
      }
      const pauseMs = this.findPause(attempt, response);
      if (pauseMs === null) {
        if (lost) throw lost;
        const refusal = await explainRefusal(response);
        end();
        throw refusal;
      }
      await response?.body?.cancel();
      end();
      await pause(pauseMs);
    }
  }

  /** The pause before the next attempt, or null where there is none. */
  findPause(attempt, response) {
    const { count, firstMs, longestMs } = this.retries;
    if (attempt > count || (response && !RETRIED_STATUSES.includes(response.status))) return null;
    const wanted = response && readRetryAfter(response);
    if (wanted != null) return wanted <= longestMs ? wanted : null;
    return Math.min(longestMs, firstMs * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
  }

  #credentials() {
    if (this.#token) return { Authorization: `Bearer ${this.#token}` };
    return this.#apiKey ? { "X-API-Key": this.#apiKey } : {};
  }
}

class Jobs {
  constructor(client) {
    this.client = client;
  }

  /** One page of the jobs that fit: {jobs, total, limit, offset, has_more}. */
  list(filters = {}) {
    return this.client.request("GET", "/jobs", { query: toApiNames(filters) });
  }

  /** All jobs that fit, page by page; each once, also where others come or end meanwhile. */
  async *iterate({ limit = 500, ...filters } = {}) {
    const known = new Set();
    for (let offset = 0; ; ) {
      const page = await this.list({ ...filters, limit, offset });
      for (const job of page.jobs) {
        if (!known.has(job.job_id)) {
          known.add(job.job_id);
          yield job;
        }
      }
      offset += page.jobs.length;
      if (!page.has_more || page.jobs.length === 0) return;
    }
  }

  get(job) {
    return this.client.request("GET", `/jobs/${nameJob(job)}`);
  }

  /** Submit a script, the path of one, or a command; under one idempotencyKey once, however often it is asked for. */
  submit({ name, idempotencyKey, ...fields }) {
    const body = { ...toApiNames(fields), ...(name === undefined ? {} : { job_name: name }) };
    const headers = idempotencyKey === undefined ? {} : { "Idempotency-Key": idempotencyKey };
    return this.client.request("POST", "/jobs", { body, headers });
  }

  cancel(job, { signal, force } = {}) {
    return this.client.request("DELETE", `/jobs/${nameJob(job)}`, { query: { signal, force } });
  }

  hold(job, { reason } = {}) {
    return this.#change(job, "hold", reason === undefined ? {} : { reason });
  }

  release(job) {
    return this.#change(job, "release");
  }

  requeue(job) {
    return this.#change(job, "requeue");
  }

  suspend(job) {
    return this.#change(job, "suspend");
  }

  resume(job) {
    return this.#change(job, "resume");
  }

  setPriority(job, priority) {
    return this.#change(job, "priority", { priority });
  }

  /** Do the same to many jobs; the answer says what became of each. */
  bulk(action, jobs, options) {
    const body = { action, job_ids: jobs?.map(nameJob), options: options && toApiNames(options) };
    return this.client.request("POST", "/jobs/bulk", { body });
  }

  output(job, { lines, offset } = {}) {
    return this.client.request("GET", `/jobs/${nameJob(job)}/output`, { query: { lines, offset } });
  }

  error(job, { lines, offset } = {}) {
    return this.client.request("GET", `/jobs/${nameJob(job)}/error`, { query: { lines, offset } });
  }

  script(job) {
    return this.client.request("GET", `/jobs/${nameJob(job)}/script`);
  }

  /** Wait until the job has ended, and return it. */
  async wait(job, { timeoutMs = Infinity } = {}) {
    const until = Date.now() + timeoutMs;
    for (let asked = 0; ; asked += 1) {
      const now = await this.get(job);
      if (ENDED.has(now.state)) return now;
      const leftMs = until - Date.now();
      if (leftMs <= 0) throw new WaitTimeout(`Job ${now.job_id} is ${now.state} after ${timeoutMs} ms`);
      await pause(Math.min(leftMs, PAUSES_MS[Math.min(asked, PAUSES_MS.length - 1)]));
    }
  }

  /** What the job writes, as it comes, until it has ended; a lost connection is made again where it was. */
  async *follow(job, { stream = "output", offset = 0 } = {}) {
    for (let lost = 0; ; ) {
      try {
        for await (const event of this.#readEvents(job, stream, offset)) {
          lost = 0;
          if (event.name === "end") return;
          if (event.name === "truncated") offset = 0;
          if (event.name === "output") {
            offset = event.id === "" ? offset : Number(event.id);
            yield JSON.parse(event.data).data;
          }
        }
      } catch (problem) {
        if (problem instanceof S9SError && !(problem instanceof ConnectionFailed)) throw problem;
        if (lost >= this.client.retries.count) throw problem;
      }
      lost += 1;
      const pauseMs = this.client.findPause(lost);
      if (pauseMs === null) throw new ConnectionFailed("The server ended the stream again and again");
      await pause(pauseMs);
    }
  }

  async *#readEvents(job, stream, offset) {
    const headers = { Accept: "text/event-stream" };
    const { response, end, ending } = await this.client.send("GET", `/jobs/${nameJob(job)}/${stream}`, {
      query: { follow: true, offset }, headers,
    });
    end(); // what follows comes when it comes
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      while (true) {
        const timer = setTimeout(() => ending.abort(), SILENCE_MS);
        const { done, value } = await reader.read().finally(() => clearTimeout(timer));
        if (done) return;
        const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const event = readEvent(block);
          if (event.data !== "") yield event;
        }
      }
    } catch (problem) {
      throw new ConnectionFailed(`The connection was lost: ${problem.message}`, { cause: problem });
    } finally {
      ending.abort();
    }
  }

  #change(job, what, body) {
    return this.client.request("PUT", `/jobs/${nameJob(job)}/${what}`, { body });
  }
}

/** What the cluster has under names: users, partitions, reservations, qos, nodes. */
class Named {
  constructor(client, kind) {
    Object.assign(this, { client, kind });
  }

  list(query = {}) {
    return this.client.request("GET", `/${this.kind}`, { query: toApiNames(query) });
  }

  get(name) {
    return this.client.request("GET", `/${this.kind}/${encodeURIComponent(name)}`);
  }
}

class Nodes extends Named {
  constructor(client) {
    super(client, "nodes");
  }

  /** Give a node no new jobs; with a timeout ("2h") it resumes by itself. */
  drain(name, { reason, timeout }) {
    return this.#change(name, "drain", { reason, timeout });
  }

  resume(name) {
    return this.#change(name, "resume");
  }

  setState(name, state, { reason } = {}) {
    return this.#change(name, "state", { state, reason });
  }

  #change(name, what, body) {
    return this.client.request("PUT", `/nodes/${encodeURIComponent(name)}/${what}`, { body });
  }
}

/** Files that the server makes in the background: exports and reports. */
class Files {
  constructor(client, making, kept) {
    Object.assign(this, { client, making, kept });
  }

  /** Begin to make one: {type, format, …}. */
  create(request) {
    return this.client.request("POST", `/${this.making}`, { body: request });
  }

  /** One page of them, newest first. */
  list(query = {}) {
    return this.client.request("GET", `/${this.kept}`, { query });
  }

  get(made) {
    return this.client.request("GET", this.#path(made));
  }

  /** Wait until it is made or has failed, and return it. */
  async wait(made, { timeoutMs = 600000 } = {}) {
    const until = Date.now() + timeoutMs;
    while (true) {
      const now = await this.get(made);
      if (now.status !== "processing") return now;
      if (Date.now() > until) throw new WaitTimeout(`${this.#path(now)} is not made after ${timeoutMs} ms`);
      await pause(500);
    }
  }

  /** Its file, as a Blob. */
  async download(made) {
    const { response, end } = await this.client.send("GET", `${this.#path(made)}/download`);
    end(); // a large file takes its time
    return response.blob();
  }

  /** Cancel it, or delete it with its file. */
  async delete(made) {
    await this.client.request("DELETE", this.#path(made));
  }

  #path(made) {
    return `/${this.kept}/${encodeURIComponent(made.export_id ?? made.report_id ?? made)}`;
  }
}

class Metrics {
  constructor(client) {
    this.client = client;
  }

  cluster() {
    return this.client.request("GET", "/metrics/cluster");
  }

  performance(query = {}) {
    return this.client.request("GET", "/metrics/performance", { query: toApiNames(query) });
  }

  efficiency(query = {}) {
    return this.client.request("GET", "/metrics/efficiency", { query: toApiNames(query) });
  }
}

class Alerts {
  constructor(client) {
    this.client = client;
  }

  list(query = {}) {
    return this.client.request("GET", "/alerts", { query });
  }

  acknowledge(alertId) {
    return this.client.request("PUT", `/alerts/${encodeURIComponent(alertId)}/acknowledge`);
  }

  resolve(alertId) {
    return this.client.request("PUT", `/alerts/${encodeURIComponent(alertId)}/resolve`);
  }
}

function readEvent(block) {
  const event = { name: "message", id: "", data: [] };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") event.name = value;
    if (field === "id") event.id = value;
    if (field === "data") event.data.push(value);
  }
  return { ...event, data: event.data.join("\n") };
}

async function explainRefusal(response) {
  const text = await response.text().catch(() => "");
  const common = { status: response.status, retryAfterMs: readRetryAfter(response) };
  try {
    const { code, message, details, request_id: requestId } = JSON.parse(text).error;
    return new (BY_CODE[code] ?? S9SError)(message, { ...common, code, details, requestId });
  } catch {
    // Something in between answers in its own way, such as a proxy.
    const requestId = response.headers.get("x-request-id");
    return new S9SError(text.slice(0, 500) || response.statusText, { ...common, requestId });
  }
}

function readRetryAfter(response) {
  const text = response.headers.get("retry-after");
  return text !== null && /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : null;
}

function formatQuery(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  return given.length === 0 ? "" : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

function toApiNames(fields) {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  );
}

function nameJob(job) {
  return encodeURIComponent(typeof job === "object" ? job.job_id : job);
}

// Not every node has crypto.randomUUID, nor every page that came without TLS.
function makeKey() {
  return globalThis.crypto?.randomUUID?.() ?? [1, 2, 3].map(() => Math.random().toString(36).slice(2)).join("");
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
