// Which server this is, and where its operations are described.

import { h, show } from "../core/dom.js";
import { base, get } from "../core/api.js";
import { makeFacts, makePane } from "../core/pane.js";
import { writeDuration } from "../core/format.js";

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
    draw(body, { health, status }) {
      show(
        body,
        makeFacts([
          ["Sluice", health.version],
          ["SLURM", status.slurm.version],
          ["Cluster", health.cluster],
          ["State", health.status],
          ["Up for", writeDuration(status.uptime_seconds)],
          ["Accounting", status.slurm.database === null ? "not asked, or there is none" : status.slurm.database],
          ["Address", base.href],
        ]),
        health.reasons.length > 0 && h("ul", { class: "steps" }, health.reasons.map((reason) => h("li", null, h("span", { class: "mark failed", "aria-hidden": "true" }, "✗"), reason))),
      );
    },
  });
  const links = LINKS.map(([path, words]) => h("li", null, h("a", { href: path }, `/${path}`), ` ${words}`));
  show(place, pane.node, h("section", { class: "pane", "aria-label": "More" }, h("h2", null, "More"), h("ul", { class: "steps" }, links)));
  return pane.close;
}
