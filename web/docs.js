// Everything is asked for relative to this page, which a proxy may show below a path of its own.
const root = new URL(".", location.href).pathname;

async function showContract() {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status} ${answer.statusText}`);
  const spec = { ...(await answer.json()), servers: [{ url: root.replace(/\/$/, "") || "/" }] };
  SwaggerUIBundle({ spec, dom_id: "#docs", deepLinking: true });
}

showContract().catch((problem) => {
  document.getElementById("docs").textContent = `The contract cannot be shown. ${problem.message}`;
});
