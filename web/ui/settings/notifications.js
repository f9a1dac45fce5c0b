// Notifications: where they go, what was sent, and what could not be.

import { h, makeChoice, renew, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { openForm } from "../core/dialog.js";
import { makePane, makePlainTable, showPanes } from "../core/pane.js";
import { makeState } from "../core/marks.js";
import { notify, showEmpty } from "../core/notice.js";
import { changeQuery, readAddress } from "../core/router.js";
import { writeCount, writeTime } from "../core/format.js";
import { makeNoticeControl } from "./browser_notices.js";

const MOST = 100;
const FAMILIES = { pending: "waiting", sending: "running", delivered: "done", abandoned: "failed" };
const KINDS = { slack_webhook: "Slack webhook", webhook: "webhook" };

// Open the part.
export function open(place) {
  return showPanes(place, makeNoticeControl(), [makeEndpointsPane(), makeDeliveriesPane()]);
}

function makeEndpointsPane() {
  return makePane({
    title: "Endpoints",
    actions: [makeButton("Add one…", openEndpoint, { scope: "admin" })],
    kinds: ["endpoint"],
    load: "api/endpoints",
    draw(place, endpoints) {
      if (endpoints.length === 0) return showEmpty(place, NO_ENDPOINTS);
      const columns = ["Name", "Kind", "Address", "Alerts", "State", h("span", { class: "unseen" }, "Actions")];
      show(place, makePlainTable("Endpoints", columns, endpoints.map(listCells)));
    },
  });
}

const NO_ENDPOINTS =
  "There are no endpoints yet. An endpoint is a webhook that hears how jobs, runs and sweeps end; name it when you start them.";

function listCells({ id, name, kind, config, alerts, disabled_at }) {
  const verb = disabled_at ? "enable" : "disable";
  const turn = makeAction({
    label: disabled_at ? "Enable" : "Disable",
    scope: "admin",
    call: () => ({ method: "POST", path: `api/endpoints/${id}/${verb}` }),
    done: () => `${name} is ${verb}d`,
  });
  const remove = makeAction({
    label: "Delete",
    scope: "admin",
    question: () => `Delete the endpoint ${name} and its subscriptions? What waits to be sent to it is dropped.`,
    call: () => ({ method: "DELETE", path: `api/endpoints/${id}` }),
    done: () => `${name} is deleted`,
  });
  const state = disabled_at ? makeState("disabled", "cancelled") : makeState("enabled", "done");
  return [name, KINDS[kind] ?? kind, h("code", null, config.webhook_url), alerts, state, h("span", { class: "bar" }, turn, remove)];
}

function openEndpoint() {
  openForm(
    "Add an endpoint",
    [
      ["name", "Name", "", { required: true }],
      ["kind", "Kind", "", { choices: Object.entries(KINDS) }],
      ["webhook_url", "Address", "https; it is masked from then on", { type: "url", required: true }],
      ["alerts", "Alerts of the cluster", "which of them it hears of, besides what it is named for", { choices: ["none", "warning", "critical"] }],
    ],
    {
      label: "Add",
      call: ({ name = "", webhook_url = "", ...body }) => ({ method: "POST", path: "api/endpoints", body: { ...body, name, config: { webhook_url } } }),
      done: ({ name }) => notify(`The endpoint ${name} is there`),
    },
  );
}

function makeDeliveriesPane() {
  const choices = [["", "all"], ...Object.keys(FAMILIES)];
  const state = makeChoice("State of deliveries", choices, readAddress().query.get("status") ?? "", (status) => {
    changeQuery({ status });
    pane.document.reload();
  });
  const pane = makePane({
    title: "Deliveries",
    actions: [state],
    kinds: ["delivery"],
    calm_ms: 1000,
    load: async ({ signal }) => {
      const read = (path, query) => get(path, query, { signal });
      const query = { status: state.value, limit: MOST };
      const [rows, stuck] = await Promise.all([read("api/deliveries", query), read("api/deliveries/stuck")]);
      return { rows, stuck };
    },
    draw: (place, value) => drawDeliveries(place, value, state.value),
  });
  return pane;
}

function drawDeliveries(place, { rows, stuck }, status) {
  if (rows.length === 0) return showEmpty(place, status ? `No delivery is ${status}.` : "Nothing was sent yet.");
  const number = writeCount(stuck.count, "delivery", "deliveries");
  const late = stuck.count > 0 && h("p", { class: "trouble" }, `${number} should have gone out more than ${stuck.older_than_sec} s ago.`);
  const columns = [["Made", "nowrap"], "State", ["What", "told"], ["Attempts", "numeric"], ["Next or last", "nowrap"], ["Why", "told"]];
  const lines = rows.map(({ created_at, status: state, event, attempt_count, delivered_at, next_attempt_at, last_error }) => [
    writeTime(created_at),
    makeState(state, FAMILIES[state]),
    describeEvent(event),
    attempt_count,
    writeTime(delivered_at ?? next_attempt_at),
    last_error,
  ]);
  renew(place, late, makePlainTable("Deliveries", columns, lines));
}

function describeEvent(event) {
  return [event.event, event.name ?? event.workflow_name ?? event.job_name, event.status].filter((part) => typeof part === "string").join(" · ");
}
