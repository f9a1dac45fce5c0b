// The types of the client; those of answers are made from the contract (contract.d.ts).
import type { components, operations } from "./contract.d.ts";

type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type JobState = Schemas["JobState"];
export type JobDetail = Schemas["JobDetail"];
export type Export = Schemas["Export"];
export type ExportRequest = NonNullable<operations["create_export"]["requestBody"]>["content"]["application/json"];
export type Report = Schemas["Report"];
export type ReportRequest = NonNullable<operations["create_report"]["requestBody"]>["content"]["application/json"];
export type Output = Schemas["Output"];
type Query<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;
type Answer<Name extends keyof operations, Status extends number> = operations[Name]["responses"] extends {
  [Code in Status]: { content: { "application/json": infer Body } };
}
  ? Body
  : never;

/** Names as in the API or as in JavaScript: cpus_per_node or cpusPerNode. */
type CamelCase<Name> = Name extends `${infer First}_${infer Rest}` ? `${First}${Capitalize<CamelCase<Rest>>}` : Name;
type EitherCase<Fields> = Partial<Fields> & { [Name in keyof Fields as CamelCase<Name>]?: Fields[Name] };

export type JobId = string | number | { job_id: string };
export type JobFilters = EitherCase<Query<"list_jobs">>;
export type JobPage = Answer<"list_jobs", 200>;
export type JobSubmission = EitherCase<Schemas["Submission"]> & {
  script: string;
  name?: string;
  idempotencyKey?: string;
};
export type BulkAnswer = Answer<"change_jobs", 200>;
export type BulkOptions = EitherCase<
  NonNullable<NonNullable<operations["change_jobs"]["requestBody"]>["content"]["application/json"]["options"]>
>;

export interface Retries {
  count?: number;
  firstMs?: number;
  longestMs?: number;
}

export interface ClientOptions {
  baseUrl?: string;
  token?: string;
  apiKey?: string;
  clientId?: string;
  clientSecret?: string;
  scope?: string;
  timeoutMs?: number;
  retries?: Retries;
  fetch?: typeof fetch;
  /** For node before version 22: that of the package ws. */
  WebSocket?: new (url: string) => any;
}

export type Channel = "jobs" | "nodes" | "metrics" | "alerts" | "queue";

export interface Update {
  channel: Channel;
  action: "update" | "created" | "deleted" | "snapshot";
  resource_id: string | null;
  timestamp: string;
  data: any;
}

export interface RequestOptions {
  query?: Record<string, unknown>;
  body?: unknown;
  headers?: Record<string, string>;
}

export declare class S9SClient {
  constructor(options?: ClientOptions);
  readonly address: string;
  readonly jobs: Jobs;
  readonly exports: Files<Export, ExportRequest, Answer<"list_exports", 200>>;
  readonly reports: Files<Report, ReportRequest, Answer<"list_reports", 200>>;
  readonly nodes: Nodes;
  readonly users: Named<Answer<"list_users", 200>, Schemas["UserDetail"]>;
  readonly partitions: Named<Answer<"list_partitions", 200>, Schemas["PartitionDetail"]>;
  readonly reservations: Named<Answer<"list_reservations", 200>, Schemas["Reservation"]>;
  readonly qos: Named<Answer<"list_qos", 200>, Schemas["QosDetail"]>;
  readonly metrics: Metrics;
  search(q: string, options?: { type?: string; limit?: number }): Promise<Answer<"search_everything", 200>>;
  readonly alerts: Alerts;
  updates(channel: Channel, options?: { filter?: Record<string, unknown>; snapshot?: boolean }): AsyncGenerator<Update>;
  withSignal(signal: AbortSignal): S9SClient;
  status(): Promise<Schemas["Status"]>;
  request(method: string, path: string, options?: RequestOptions): Promise<unknown>;
}

export interface Jobs {
  list(filters?: JobFilters): Promise<JobPage>;
  iterate(filters?: JobFilters): AsyncGenerator<Job>;
  get(job: JobId): Promise<JobDetail>;
  submit(submission: JobSubmission): Promise<JobState>;
  cancel(job: JobId, options?: { signal?: string; force?: boolean }): Promise<JobState>;
  hold(job: JobId, options?: { reason?: string }): Promise<JobState>;
  release(job: JobId): Promise<JobState>;
  requeue(job: JobId): Promise<JobState>;
  suspend(job: JobId): Promise<JobState>;
  resume(job: JobId): Promise<JobState>;
  setPriority(job: JobId, priority: number): Promise<Schemas["JobPriority"]>;
  bulk(action: string, jobs?: JobId[], options?: BulkOptions): Promise<BulkAnswer>;
  output(job: JobId, options?: { lines?: number; offset?: number }): Promise<Output>;
  error(job: JobId, options?: { lines?: number; offset?: number }): Promise<Output>;
  wait(job: JobId, options?: { timeoutMs?: number }): Promise<JobDetail>;
  script(job: JobId): Promise<Answer<"read_script", 200>>;
  follow(job: JobId, options?: { stream?: "output" | "error"; offset?: number }): AsyncGenerator<string>;
}

export interface Files<Made, Request, Page> {
  create(request: Request): Promise<Made>;
  list(query?: { limit?: number; offset?: number }): Promise<Page>;
  iterate(query?: { limit?: number }): AsyncGenerator<Made>;
  get(made: string | Made): Promise<Made>;
  wait(made: string | Made, options?: { timeoutMs?: number }): Promise<Made>;
  download(made: string | Made): Promise<Blob>;
  delete(made: string | Made): Promise<void>;
}

export interface Named<Page, Detail> {
  list(query?: { limit?: number; offset?: number }): Promise<Page>;
  get(name: string): Promise<Detail>;
}

export interface Nodes {
  list(query?: EitherCase<Query<"list_nodes">>): Promise<Answer<"list_nodes", 200>>;
  get(name: string): Promise<Schemas["NodeDetail"]>;
  drain(name: string, options: { reason: string; timeout?: string }): Promise<Schemas["NodeChange"]>;
  resume(name: string): Promise<Schemas["NodeChange"]>;
  setState(name: string, state: string, options?: { reason?: string }): Promise<Schemas["NodeChange"]>;
}

export interface Metrics {
  cluster(): Promise<Schemas["ClusterMetrics"]>;
  performance(query?: EitherCase<Query<"get_performance_metrics">>): Promise<Answer<"get_performance_metrics", 200>>;
  efficiency(query?: EitherCase<Query<"get_efficiency">>): Promise<Answer<"get_efficiency", 200>>;
}

export interface Alerts {
  list(query?: Query<"list_alerts">): Promise<Answer<"list_alerts", 200>>;
  iterate(query?: Query<"list_alerts">): AsyncGenerator<Schemas["Alert"]>;
  acknowledge(alertId: string): Promise<Schemas["Alert"]>;
  resolve(alertId: string): Promise<Schemas["Alert"]>;
}

export declare class S9SError extends Error {
  readonly status: number | null;
  readonly code: string;
  readonly details: Record<string, unknown>;
  readonly requestId: string | null;
  readonly retryAfterMs: number | null;
}
export declare class InvalidRequest extends S9SError {}
export declare class ValidationError extends InvalidRequest {}
export declare class AuthenticationFailed extends S9SError {}
export declare class PermissionDenied extends S9SError {}
export declare class ResourceNotFound extends S9SError {}
export declare class ResourceConflict extends S9SError {}
export declare class RateLimitExceeded extends S9SError {}
export declare class SlurmError extends S9SError {}
export declare class ConnectionFailed extends S9SError {}
export declare class WaitTimeout extends S9SError {}
