// A client of the S9S cluster API over fetch, for node from version 18 on and for browsers.
//
// Names of arguments may be written as in JavaScript (cpusPerNode) or as in the API (cpus_per_node); answers are those
// of the API, as it documents them.

const RETRIED_STATUSES = [429, 503];
const ENDED = new Set([
  "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
  "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL", "LOST",
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

const UPDATES = new Set(["update", "created", "deleted", "snapshot"]);
// A token is exchanged so long before its end: the clocks of two machines differ.
const EARLY_MS = 60000;

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
  #options;
  #issued = { token: null, endsAt: 0 };
  #signal;

  constructor(options = {}) {
    const { baseUrl = "http://127.0.0.1:8000", timeoutMs = 30000, retries = {} } = options;
    const address = baseUrl.replace(/\/+$/, "");
    this.address = address.endsWith("/v1") ? address : `${address}/v1`;
    this.timeoutMs = timeoutMs;
    // A server that is started anew is away for some seconds.
    this.retries = { count: 5, firstMs: 500, longestMs: 60000, ...retries };
    this.#options = { ...options, fetch: options.fetch ?? globalThis.fetch.bind(globalThis) };
    this.jobs = new Jobs(this);
    this.nodes = new Nodes(this);
    for (const name of ["users", "partitions", "reservations", "qos"]) this[name] = new Named(this, name);
    this.exports = new Files(this, "export", "exports");
    this.reports = new Files(this, "reports", "reports");
    this.metrics = new Metrics(this);
    this.alerts = new Alerts(this);
  }

  /** A client whose calls, pauses and streams end with the signal of an AbortController. */
  withSignal(signal) {
    const bound = new S9SClient(this.#options);
    bound.#issued = this.#issued;
    bound.#signal = signal;
    return bound;
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
    const { response, forget } = await this.send(method, path, { query, body, headers });
    try {
      const text = await response.text();
      return text === "" ? null : JSON.parse(text);
    } catch (problem) {
      this.#signal?.throwIfAborted();
      throw new ConnectionFailed(`The answer did not come whole: ${problem.message}`, { cause: problem });
    } finally {
      forget();
    }
  }

  /**
   * What happens in a channel (jobs, nodes, metrics, alerts, queue), as it happens, until the caller leaves. With
   * `snapshot` it begins with what there is. A lost connection is made again; what happened meanwhile is told by the
   * snapshot, where there is one.
   */
  async *updates(channel, { filter, snapshot } = {}) {
    for (let lost = 0; ; ) {
      let reason = "the server ended the connection";
      try {
        // A ticket stands for the caller, whoever that is, and is good for one connection.
        const { ticket } = await this.request("POST", "/ws/ticket");
        for await (const message of this.#readMessages(ticket, { action: "subscribe", channel, filter, snapshot })) {
          if (message.action === "error") {
            const { code, message: text, details, request_id: requestId } = message.error;
            throw new (BY_CODE[code] ?? S9SError)(text, { code, details, requestId });
          }
          if (message.action !== "subscribed") lost = 0;
          if (!UPDATES.has(message.action)) continue;
          yield message;
        }
      } catch (problem) {
        if (!(problem instanceof ConnectionFailed)) throw problem;
        reason = problem.message;
      }
      lost += 1;
      const pauseMs = this.findPause(lost);
      if (pauseMs === null) throw new ConnectionFailed(`No updates: ${reason}`);
      await this.pause(pauseMs);
    }
  }

  async *#readMessages(ticket, subscription) {
    const WebSocket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocket) throw new S9SError("There is no WebSocket here: give one as an option (node has it from version 22 on)");
    this.#signal?.throwIfAborted();
    const socket = new WebSocket(`${this.address.replace(/^http/, "ws")}/ws?ticket=${ticket}`);
    const messages = [];
    let isOpen = true;
    let wake = () => {};
    let isHeard = true;
    const end = () => {
      isOpen = false;
      wake();
    };
    socket.addEventListener("open", () => socket.send(JSON.stringify(subscription)));
    socket.addEventListener("message", (event) => {
      isHeard = true;
      messages.push(JSON.parse(event.data));
      wake();
    });
    socket.addEventListener("error", end);
    socket.addEventListener("close", end);
    this.#signal?.addEventListener("abort", end);
    // A page cannot see the pings of WebSockets, so that it asks: who does not answer is not there any more.
    const asking = setInterval(() => {
      if (!isHeard) end();
      else if (socket.readyState === 1) socket.send('{"action": "ping"}');
      isHeard = false;
    }, SILENCE_MS / 2);
    try {
      while (true) {
        while (messages.length > 0) yield messages.shift();
        this.#signal?.throwIfAborted();
        if (!isOpen) return;
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      clearInterval(asking);
      this.#signal?.removeEventListener("abort", end);
      socket.close();
    }
  }

  /**
   * Ask for a path, again while the server is busy or out of reach. `forget` is to be called when all is read; before,
   * `untime` lets the body take its time, and `leave` ends it.
   */
  async send(method, path, { query, body, headers = {} } = {}) {
    // The path would be that of a list.
    if (path.endsWith("/") || path.includes("//")) throw new InvalidRequest("An id is empty");
    const given = { ...headers };
    if (body !== undefined) given["Content-Type"] = "application/json";
    // A key makes asking twice harmless.
    if (method === "POST" && !given["Idempotency-Key"]) given["Idempotency-Key"] = makeKey();
    const ask = async () =>
      this.#sendAgain(method, `${this.address}${path}${formatQuery(query)}`, {
        headers: { ...(await this.#credentials()), ...given },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    try {
      return await ask();
    } catch (problem) {
      if (problem.status !== 401 || this.#issued.token === null) throw problem;
      this.#issued.token = null; // it has ended before its time
      return ask();
    }
  }

  async #sendAgain(method, url, { headers, body }) {
    const { timeoutMs } = this;
    for (let attempt = 1; ; attempt += 1) {
      const ending = new AbortController();
      const timer = setTimeout(() => ending.abort(new Error(`no answer for ${timeoutMs} ms`)), timeoutMs);
      const leave = (reason) => ending.abort(reason instanceof Error ? reason : this.#signal.reason);
      if (this.#signal?.aborted) leave();
      this.#signal?.addEventListener("abort", leave);
      const untime = () => clearTimeout(timer);
      const forget = () => {
        untime();
        this.#signal?.removeEventListener("abort", leave);
      };
      let response, lost;
      try {
        response = await this.#options.fetch(url, { method, headers, body, signal: ending.signal });
        if (response.ok) return { response, forget, untime, leave };
      } catch (problem) {
        forget();
        this.#signal?.throwIfAborted();
        lost = new ConnectionFailed(`${method} ${url}: ${(problem.cause ?? problem).message}`, { cause: problem });
      }
      const pauseMs = this.findPause(attempt, response);
      if (pauseMs === null) {
        if (lost) throw lost;
        const refusal = await explainRefusal(response);
        forget();
        throw refusal;
      }
      await response?.body?.cancel();
      forget();
      await this.pause(pauseMs);
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

  throwIfAborted() {
    this.#signal?.throwIfAborted();
  }

  /** Wait, at most until the signal. */
  async pause(milliseconds) {
    const signal = this.#signal;
    signal?.throwIfAborted();
    await new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", leave);
        resolve();
      }, milliseconds);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  async #credentials() {
    const { token, apiKey, clientId } = this.#options;
    if (token) return { Authorization: `Bearer ${token}` };
    if (apiKey) return { "X-API-Key": apiKey };
    return clientId ? { Authorization: `Bearer ${await this.#exchange()}` } : {};
  }

  /** The token of an OAuth client (RFC 6749, client credentials), a new one when it ends. */
  async #exchange() {
    const issued = this.#issued;
    if (issued.token === null || Date.now() > issued.endsAt - EARLY_MS) {
      const { clientId, clientSecret = "", scope } = this.#options;
      const form = { grant_type: "client_credentials", client_id: clientId, client_secret: clientSecret };
      const address = `${this.address.replace(/(\/api)?\/v1$/, "")}/oauth/token`;
      const body = new URLSearchParams(scope ? { ...form, scope } : form);
      const { response, forget } = await this.#sendAgain("POST", address, { body });
      const { access_token: token, expires_in: seconds } = await response.json().finally(forget);
      Object.assign(issued, { token, endsAt: Date.now() + seconds * 1000 });
    }
    return issued.token;
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
  iterate(filters = {}) {
    return iteratePages((query) => this.list(query), "jobs", "job_id", filters);
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

  /** Change many jobs alike; the answer says what became of each. */
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
      await this.client.pause(Math.min(leftMs, PAUSES_MS[Math.min(asked, PAUSES_MS.length - 1)]));
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
      await this.client.pause(pauseMs);
    }
  }

  async *#readEvents(job, stream, offset) {
    const headers = { Accept: "text/event-stream" };
    const { response, forget, untime, leave } = await this.client.send("GET", `/jobs/${nameJob(job)}/${stream}`, {
      query: { follow: true, offset }, headers,
    });
    untime(); // what follows comes when it comes
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      while (true) {
        const timer = setTimeout(() => leave(new Error("nothing came")), SILENCE_MS);
        const { done, value } = await reader.read().finally(() => clearTimeout(timer));
        if (done) return;
        const blocks = (text + value).replaceAll("\r\n", "\n").split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const event = readEvent(block);
          // A comment stands for silence that has lasted.
          if (event.data !== "" || block.startsWith(":")) yield event;
        }
      }
    } catch (problem) {
      this.client.throwIfAborted();
      throw new ConnectionFailed(`The connection was lost: ${problem.message}`, { cause: problem });
    } finally {
      leave(new Error("it is not read any more"));
      forget();
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

  /** All of them, page by page. */
  iterate(query = {}) {
    const id = this.kept === "exports" ? "export_id" : "report_id";
    return iteratePages((asked) => this.list(asked), this.kept, id, query);
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
      await this.client.pause(500);
    }
  }

  /** Its file, as a Blob. */
  async download(made) {
    const { response, forget, untime } = await this.client.send("GET", `${this.#path(made)}/download`);
    untime(); // a large file takes its time
    try {
      return await response.blob();
    } catch (problem) {
      this.client.throwIfAborted();
      throw new ConnectionFailed(`The file did not come whole: ${problem.message}`, { cause: problem });
    } finally {
      forget();
    }
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

  /** All that fit, page by page. */
  iterate(query = {}) {
    return iteratePages((asked) => this.list(asked), "alerts", "alert_id", query);
  }

  acknowledge(alertId) {
    return this.client.request("PUT", `/alerts/${encodeURIComponent(alertId)}/acknowledge`);
  }

  resolve(alertId) {
    return this.client.request("PUT", `/alerts/${encodeURIComponent(alertId)}/resolve`);
  }
}

async function* iteratePages(list, rows, id, { limit = 500, ...asked }) {
  const known = new Set();
  for (let offset = 0; ; ) {
    const page = await list({ ...asked, limit, offset });
    for (const row of page[rows]) {
      if (!known.has(row[id])) {
        known.add(row[id]);
        yield row;
      }
    }
    offset += page[rows].length;
    if (!page.has_more || page[rows].length === 0) return;
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
    const said = JSON.parse(text);
    if (typeof said.error === "string") {
      // The shape of RFC 6749, of /oauth/token.
      return new AuthenticationFailed(said.error_description ?? said.error, { ...common, code: said.error });
    }
    const { code, message, details, request_id: requestId } = said.error;
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
