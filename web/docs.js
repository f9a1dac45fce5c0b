// Everything is asked for relative to this page, which a proxy may show below a path of its own.
const root = new URL(".", location.href).pathname.replace(/\/$/, "");
const isS9s = new URLSearchParams(location.search).get("api") === "s9s";
const address = isS9s ? "api/v1/openapi.json" : "openapi.json";
document.querySelector(`nav a[href="${isS9s ? "docs?api=s9s" : "docs"}"]`).setAttribute("aria-current", "page");

async function showContract() {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
  const spec = await answer.json();
  for (const scheme of Object.values(spec.components.securitySchemes)) {
    for (const flow of Object.values(scheme.flows ?? {})) flow.tokenUrl = root + flow.tokenUrl;
  }
  for (const server of spec.servers) server.url = (root + server.url).replace(/(.)\/$/, "$1");
  SwaggerUIBundle({ spec, dom_id: "#docs", deepLinking: true });
}

showContract().catch((problem) => {
  document.getElementById("docs").textContent = `The contract cannot be shown. ${problem.message}`;
});
