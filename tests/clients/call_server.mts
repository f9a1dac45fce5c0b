// A user's program over the types that openapi-typescript has made.
import createClient from "openapi-fetch";
import type { paths } from "./contract.d.ts";

declare const process: { env: Record<string, string> };

function must<T>(value: T | undefined, what: unknown): T {
  if (value === undefined) throw new Error(JSON.stringify(what));
  return value;
}

const client = createClient<paths>({
  baseUrl: process.env.URL,
  headers: { Authorization: `Bearer ${process.env.TOKEN}` },
});

// What has a default may be left out.
const made = await client.POST("/api/jobs", {
  body: { name: "made-by-typescript", script_content: "#!/bin/sh\nsleep 600\n" },
});
const jobId = must(made.data, made.error).job_id;
console.log("submitted");

const path = { job_id: String(jobId) };
const job = await client.GET("/api/jobs/{job_id}", { params: { path } });
if (must(job.data, job.error).name !== "made-by-typescript") throw new Error("another job");
console.log("got");

const listed = await client.GET("/api/jobs");
if (!must(listed.data, listed.error).some((row) => row.job_id === jobId)) throw new Error("not listed");
console.log("listed");

const cancelled = await client.DELETE("/api/jobs/{job_id}", { params: { path } });
if (cancelled.response.status !== 204) throw new Error("not cancelled");
console.log("cancelled");

const refused = await client.POST("/api/jobs", { body: { name: "" } });
const detail = must(refused.error, refused.data).detail;
if (typeof detail === "string" || detail[0].loc[1] !== "name" || detail[0].input !== "") throw new Error("no reason");
console.log(`refused: ${refused.response.status}`);

const unknown = await client.GET("/api/jobs/{job_id}", { params: { path: { job_id: "999999" } } });
if (typeof must(unknown.error, unknown.data).detail !== "string") throw new Error("no reason");
console.log(`unknown: ${unknown.response.status}`);

// Compiled only: free objects take what is in them.
export const sweep = () =>
  client.POST("/api/workflows/{name}/run", {
    params: { path: { name: "train" } },
    body: { args_override: { lr: 0.1 }, sweep: { matrix: { seed: [1, 2] } } },
  });
