// Follow a job and updates while the server is started anew, as in restart_sdk.py.
import { S9SClient } from "@s9s/client";
import WebSocket from "ws";

const { URL: baseUrl, TOKEN: token, JOB: job } = process.env;
const client = new S9SClient({ baseUrl, token, WebSocket, retries: { count: 300, firstMs: 100, longestMs: 1000 } });

async function seeUpdates() {
  let seen = 0;
  for await (const { action } of client.updates("queue", { snapshot: true })) {
    if (action === "snapshot") console.log(action);
    if (action === "snapshot" && (seen += 1) === 2) return;
  }
}

const seeing = seeUpdates();
for await (const text of client.jobs.follow(job)) process.stdout.write(text);
console.log((await client.jobs.wait(job)).state);
await seeing;
