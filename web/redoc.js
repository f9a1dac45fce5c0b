// Everything is asked for relative to the page, which a proxy may show below a path of its own.
import { init } from "./redoc.standalone.js";

const root = new URL(".", location.href).pathname.replace(/\/$/, "");
const place = document.getElementById("redoc");

async function showContract() {
  const answer = await fetch("api/v1/openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status} ${answer.statusText}`);
  const spec = await answer.json();
  for (const server of spec.servers) server.url = root + server.url;
  await init(spec, { disableTelemetry: true }, place); // what it would tell its makers is refused by our policy, too
}

showContract().catch((problem) => {
  place.textContent = `The contract cannot be shown. ${problem.message}`;
});
