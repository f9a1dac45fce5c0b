// What a user does with the JavaScript client; each line says what was seen, as in use_sdk.py.
import { RateLimitExceeded, S9SClient } from "@s9s/client";
import WebSocket from "ws";

const { URL: baseUrl, TOKEN: token, BUSY: busy, CLIENT: clientId, SECRET: clientSecret } = process.env;
const client = new S9SClient({ baseUrl, token, WebSocket });

async function refusalOf(work) {
  try {
    await work();
  } catch (problem) {
    return problem;
  }
  throw new Error("no refusal");
}
const tell = (problem) => `${problem.name} ${problem.status} ${problem.code} ${problem.requestId ? "True" : "False"}`;
const truth = (value) => (value ? "True" : "False");
const list = (words) => `[${words.map((word) => `'${word}'`).join(", ")}]`;

const job = await client.jobs.submit({ name: "sdk-words", script: "#!/bin/sh\necho one\nsleep 1\necho two\n" });
let text = "";
for await (const piece of client.jobs.follow(job)) text += piece;
console.log("followed", `'${text.replaceAll("\n", "\\n")}'`);
console.log("ended", (await client.jobs.wait(job, { timeoutMs: 600000 })).state);
console.log("output", list((await client.jobs.output(job)).lines));
const made = [];
for (let at = 0; at < 3; at += 1) made.push(await client.jobs.submit({ name: "sdk-many", script: "/bin/sleep 600", nodes: 1 }));
const ids = new Set();
for await (const row of client.jobs.iterate({ limit: 2 })) ids.add(row.job_id);
console.log("all pages", truth(made.every((row) => ids.has(row.job_id))));
const page = await client.jobs.list({ limit: 1 });
console.log("one page", page.jobs.length, truth(page.total >= 4), truth(page.has_more));
console.log((await refusalOf(() => client.jobs.wait(made[0], { timeoutMs: 100 }))).name);
console.log("cancelled", (await client.jobs.cancel(made[0])).state);
const done = await client.jobs.bulk("cancel", made.slice(1), { force: true });
console.log("bulk", done.summary.successful, done.summary.failed);
const again = [];
for (const _ of "ab") {
  again.push(await client.jobs.submit({ name: "sdk-once", script: "/bin/true", idempotencyKey: `key-${job.job_id}` }));
}
console.log("once", truth(again[0].job_id === again[1].job_id));
for (const wrong of [() => client.jobs.get("99999999"), () => client.jobs.submit({ script: "x", nodes: 0 })]) {
  const problem = await refusalOf(wrong);
  console.log(tell(problem), list(Object.keys(problem.details).sort()));
}
const usr = await refusalOf(() => client.exports.create({ type: "jobs", format: "csv", filter: { usr: "me" } }));
console.log("mistyped", usr.name, (await refusalOf(() => client.jobs.get(""))).name);
const file = await client.exports.wait(await client.exports.create({ type: "jobs", format: "csv", fields: ["job_id", "job_name"] }));
console.log("exported", file.status, (await (await client.exports.download(file)).text()).split("\r\n")[0]);
await client.exports.delete(file);
const nodes = (await client.nodes.list()).nodes.map((node) => node.node_name);
console.log("nodes", list(nodes), (await client.nodes.get("node01")).node_name, (await client.partitions.get("main")).name);
console.log("found", (await client.search("node01", { type: "nodes" })).results[0].id);
console.log("metrics", truth((await client.metrics.cluster()).job_counts), (await client.status()).api_version);
const reports = [];
for await (const report of client.reports.iterate()) reports.push(report);
console.log("reports", reports.length === 0 ? "[]" : reports, "users", truth((await client.users.list()).users.length > 0));
let waits;
for await (const update of client.updates("jobs", { filter: { state: "RUNNING,PENDING" }, snapshot: true })) {
  if (update.action === "snapshot") {
    waits = await client.jobs.submit({ name: "sdk-told", script: "/bin/sleep 600" });
  } else if (update.resource_id === waits.job_id) {
    console.log("told", update.action, truth(update.data.job_id === waits.job_id));
    break;
  }
}
const { user } = await new S9SClient({ baseUrl, clientId, clientSecret }).status();
console.log("client", user.name, list(user.scopes.filter((scope) => scope !== "report").sort()));
console.log(tell(await refusalOf(() => client.jobs.cancel(job))));
console.log(tell(await refusalOf(() => new S9SClient({ baseUrl, token: "wrong" }).jobs.list())));

const retries = { count: 4, firstMs: 10 };
const patient = new S9SClient({ baseUrl: busy, retries });
console.log("at last", (await patient.jobs.submit({ script: "/bin/true" })).job_id);
const limited = await refusalOf(() => patient.jobs.get("1"));
console.log(tell(limited), `${limited.retryAfterMs / 1000}.0`);
if (!(limited instanceof RateLimitExceeded)) throw new Error("another class");
const away = new S9SClient({ baseUrl: "http://127.0.0.1:1", retries });
console.log((await refusalOf(() => away.jobs.get("1"))).name);

const wrong = await refusalOf(() => new S9SClient({ baseUrl, clientId, clientSecret: "wrong" }).status());
console.log(wrong.name, wrong.code);
const pipeline = new S9SClient({ baseUrl: `${busy}/v1`, clientId, clientSecret, scope: "read" });
console.log("anew", (await pipeline.jobs.script("2")).script);

const leaving = new AbortController();
const waiting = refusalOf(() => client.withSignal(leaving.signal).jobs.wait(waits));
leaving.abort();
if ((await waiting).name === "AbortError") console.log("left");
