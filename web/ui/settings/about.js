// Which server this is, and where its operations are described.

import { h, show } from "../core/dom.js";
import { base, get } from "../core/api.js";
import { makeFacts, makePane, showPanes } from "../core/pane.js";
import { makeAge, makeMark } from "../core/marks.js";

const LINKS = [
  ["docs", "Every operation, to try out"],
  ["redoc", "Every operation, to read"],
  ["openapi.yaml", "The contract, as OpenAPI 3.1"],
  ["metrics", "Metrics for Prometheus"],
  ["health", "Health"],
];

// Open the part.
export function open(place) {
  const pane = makePane({
    title: "This server",
    kinds: ["problem", "config", "profile"],
    calm_ms: 5000,
    load: async ({ signal }) => {
      const [health, status] = await Promise.all([get("health", {}, { signal }), get("api/v1/status", {}, { signal })]);
      return { health, status };
    },
    draw: drawServer,
  });
  const links = LINKS.map(([path, words]) => h("li", null, h("a", { href: path }, `/${path}`), ` ${words}`));
  const close = showPanes(place, null, [pane]);
  place.append(h("section", { class: "pane", "aria-label": "More" }, h("h2", null, "More"), h("ul", { class: "steps" }, links)));
  return close;
}

function drawServer(place, { health, status: { slurm, timestamp, uptime_seconds } }) {
  const facts = [
    ["Sluice", health.version],
    ["SLURM", slurm.version],
    ["Cluster", health.cluster],
    ["State", health.status],
    ["Up for", makeAge(new Date(Date.parse(timestamp) - uptime_seconds * 1000).toISOString(), "elapsed")],
    ["Accounting", slurm.database?.toLowerCase() ?? "not asked, or there is none"],
    ["Address", base.href],
  ];
  show(place, makeFacts(facts), h("ul", { class: "steps" }, health.reasons.map((reason) => h("li", null, makeMark("failed"), reason))));
}
