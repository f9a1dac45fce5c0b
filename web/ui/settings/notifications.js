// Notifications: where they go, what was sent, and what could not be.

import { h, show } from "../core/dom.js";
import { get, send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { makePane } from "../core/pane.js";
import { makeState } from "../core/marks.js";
import { notify, showEmpty } from "../core/notice.js";
import { changeQuery, readAddress } from "../core/router.js";
import { writeCount, writeTime } from "../core/format.js";
import { may } from "../core/signin.js";
import { makeNoticeControl } from "./browser_notices.js";

const MOST = 100;
const STATES = ["", "pending", "sending", "delivered", "abandoned"];
const FAMILIES = { pending: "waiting", sending: "running", delivered: "done", abandoned: "failed" };
const KINDS = { slack_webhook: "Slack webhook", webhook: "webhook" };

// Open the part.
export function open(place) {
  const control = makeNoticeControl();
  const panes = [makeEndpointsPane(), makeDeliveriesPane()];
  show(place, control.node, panes.map(({ node }) => node));
  return () => panes.forEach(({ close }) => close());
}

function makeEndpointsPane() {
  const add = h("button", { type: "button", disabled: !may("admin"), title: may("admin") ? null : "This needs the scope admin", onclick: openEndpoint }, "Add one…");
  return makePane({
    title: "Endpoints",
    actions: [add],
    kinds: ["endpoint"],
    load: ({ signal }) => get("api/endpoints", {}, { signal }),
    draw(place, endpoints) {
      if (endpoints.length === 0) return showEmpty(place, "There are no endpoints yet. An endpoint is a webhook that hears how jobs, runs and sweeps end; name it when you start them.");
      const head = ["Name", "Kind", "Address", "Alerts", "State", ""].map((title) => h("th", { scope: "col" }, title || h("span", { class: "unseen" }, "Actions")));
      show(place, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Endpoints" }, h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, endpoints.map(makeEndpoint)))));
    },
  });
}

function makeEndpoint({ id, name, kind, config, alerts, disabled_at }) {
  const verb = disabled_at ? "enable" : "disable";
  const turn = makeAction({ label: disabled_at ? "Enable" : "Disable", scope: "admin", call: () => ({ method: "POST", path: `api/endpoints/${id}/${verb}` }), done: () => `${name} is ${verb}d` });
  const remove = makeAction({ label: "Delete", scope: "admin", question: () => `Delete the endpoint ${name} and its subscriptions? What waits to be sent to it is dropped.`, call: () => ({ method: "DELETE", path: `api/endpoints/${id}` }), done: () => `${name} is deleted` });
  const texts = [KINDS[kind] ?? kind, h("code", null, config.webhook_url), alerts];
  return h("tr", null, h("th", { scope: "row" }, name), texts.map((text) => h("td", null, text)), h("td", null, disabled_at ? makeState("disabled", "cancelled") : makeState("enabled", "done")), h("td", null, h("span", { class: "bar" }, turn, remove)));
}

function openEndpoint() {
  const kind = h("select", { name: "kind" }, Object.entries(KINDS).map(([value, title]) => h("option", { value }, title)));
  const name = h("input", { name: "name", required: true, autocomplete: "off" });
  const address = h("input", { name: "webhook_url", type: "url", required: true, autocomplete: "off", spellcheck: "false" });
  const alerts = h("select", { name: "alerts" }, ["none", "warning", "critical"].map((value) => h("option", { value }, value)));
  const makeBody = () => ({ kind: kind.value, name: name.value.trim(), config: { webhook_url: address.value.trim() }, alerts: alerts.value });
  const form = makeForm(
    [
      makeField("Name", name),
      makeField("Kind", kind),
      makeField("Address", address, { hint: "https; it is masked from then on" }),
      makeField("Alerts of the cluster", alerts, { hint: "which of them it hears of, besides what it is named for" }),
    ],
    {
      label: "Add",
      describe: () => ({ method: "POST", path: "api/endpoints", body: makeBody() }),
      act: async () => {
        await send("POST", "api/endpoints", makeBody());
        dialog.close();
        notify(`The endpoint ${name.value.trim()} is there`);
      },
    },
  );
  const dialog = openDialog("Add an endpoint", form);
  name.focus();
}

function makeDeliveriesPane() {
  const state = h("select", { "aria-label": "State of deliveries" }, STATES.map((value) => h("option", { value }, value || "all")));
  state.value = readAddress().query.get("status") ?? "";
  const pane = makePane({
    title: "Deliveries",
    actions: [state],
    kinds: ["delivery"],
    calm_ms: 1000,
    load: async ({ signal }) => {
      const [rows, stuck] = await Promise.all([get("api/deliveries", { status: state.value, limit: MOST }, { signal }), get("api/deliveries/stuck", {}, { signal })]);
      return { rows, stuck };
    },
    draw: (place, value) => drawDeliveries(place, value, state.value),
  });
  state.addEventListener("change", () => {
    changeQuery({ status: state.value });
    pane.document.reload();
  });
  return pane;
}

function drawDeliveries(place, { rows, stuck }, status) {
  const late = stuck.count > 0 && h("p", { class: "trouble" }, `${writeCount(stuck.count, "delivery", "deliveries")} should have gone out more than ${stuck.older_than_sec} s ago.`);
  if (rows.length === 0) return showEmpty(place, status ? `No delivery is ${status}.` : "Nothing was sent yet.");
  const head = ["Made", "State", "What", "Attempts", "Next or last", "Why"].map((title) => h("th", { scope: "col" }, title));
  const lines = rows.map((row) =>
    h("tr", null, h("th", { scope: "row" }, writeTime(row.created_at)), h("td", null, makeState(row.status, FAMILIES[row.status])), h("td", null, describeEvent(row.event)), h("td", null, row.attempt_count), h("td", null, writeTime(row.delivered_at ?? row.next_attempt_at)), h("td", null, row.last_error)),
  );
  show(place, late, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Deliveries" }, h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, lines))));
}

function describeEvent(event) {
  return [event.event, event.name ?? event.workflow_name ?? event.job_name, event.status].filter((part) => typeof part === "string").join(" · ");
}
