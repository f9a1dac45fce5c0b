// Who calls, with which scopes, and the tokens by which others may.

import { h, show } from "../core/dom.js";
import { get, send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { makeFacts, makePane } from "../core/pane.js";
import { makeCopyButton, showEmpty } from "../core/notice.js";
import { writeTime } from "../core/format.js";
import { may, me, showDenied, signOut, whenCallerChanges } from "../core/signin.js";

const NOUNS = { token: "Token", "api-key": "API key", client: "OAuth client" };
const USES = {
  token: () => "Sent as “Authorization: Bearer …”, everywhere.",
  "api-key": () => "Sent as “X-API-Key: …”, to /api/v1.",
  client: (name) => `Sent as client_secret of the client_id ${name} to /oauth/token.`,
};
const SCOPES = { read: "look", write: "submit, cancel, run", report: "report states of jobs", admin: "everything: configuration, nodes, tokens" };
const WAYS = { user: "the server’s own user, over this machine", token: "a token", key: "an API key", client: "an OAuth client", certificate: "a certificate", munge: "MUNGE" };

// Open the part.
export function open(place) {
  const own = h("section", { class: "pane", "aria-label": "You" });
  const drawOwn = () => show(own, h("h2", null, "You"), describeCaller());
  const endCaller = whenCallerChanges(drawOwn);
  drawOwn();
  const tokens = may("admin") ? makeTokensPane() : null;
  const denied = h("section", { class: "pane", "aria-label": "Tokens" });
  if (!tokens) show(denied, h("h2", null, "Tokens"), showDenied(h("div"), "admin"));
  show(place, own, tokens?.node ?? denied);
  return () => {
    endCaller();
    tokens?.close();
  };
}

function describeCaller() {
  const scopes = Object.keys(SCOPES).map((scope) => h("li", null, h("span", { class: `mark ${may(scope) ? "done" : "cancelled"}`, "aria-hidden": "true" }, may(scope) ? "✓" : "–"), `${scope}: ${SCOPES[scope]}${may(scope) ? "" : " (not allowed)"}`));
  return [
    makeFacts([
      ["Name", me.user],
      ["Known by", WAYS[me.session.kind] ?? me.session.kind],
      ["Signed in until", me.session.expires_at && writeTime(me.session.expires_at)],
    ]),
    h("ul", { class: "steps" }, scopes),
    me.session.has_session && h("div", null, h("button", { type: "button", onclick: signOut }, "Sign out")),
  ];
}

function makeTokensPane() {
  const reload = () => pane.document.reload();
  const add = h("button", { type: "button", onclick: () => openToken(reload) }, "Make one…");
  const pane = makePane({
    title: "Tokens, API keys and OAuth clients",
    actions: [add],
    load: ({ signal }) => get("api/tokens", {}, { signal }),
    draw(place, rows) {
      if (rows.length === 0) return showEmpty(place, "There are none yet. A token lets a program, or a person on another machine, call this server.");
      const head = ["Name", "Is", "Scopes", "Expires", ""].map((title) => h("th", { scope: "col" }, title || h("span", { class: "unseen" }, "Revoke")));
      show(place, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tokens" }, h("table", { class: "plain" }, h("thead", null, h("tr", null, head)), h("tbody", null, rows.map((row) => makeRow(row, reload))))));
    },
  });
  return pane;
}

function makeRow({ kind, name, scopes, expires }, reload) {
  const revoke = makeAction({
    label: "Revoke",
    scope: "admin",
    question: () => `Revoke ${NOUNS[kind]} ${name}? Whoever uses it is refused at once.`,
    call: () => ({ method: "DELETE", path: `api/tokens/${kind}/${encodeURIComponent(name)}` }),
    done: () => (reload(), `${NOUNS[kind]} ${name} is revoked`),
  });
  const isOver = expires && Date.parse(expires) < Date.now();
  return h("tr", null, h("th", { scope: "row" }, name), h("td", null, NOUNS[kind]), h("td", null, scopes.join(", ")), h("td", null, expires ? `${writeTime(expires)}${isOver ? " (over)" : ""}` : "never"), h("td", null, revoke));
}

function openToken(reload) {
  const kind = h("select", { name: "kind" }, Object.entries(NOUNS).map(([value, title]) => h("option", { value }, title)));
  const name = h("input", { name: "name", required: true, autocomplete: "off", spellcheck: "false" });
  const expires = h("input", { name: "expires", placeholder: "never", autocomplete: "off" });
  const boxes = Object.entries(SCOPES).map(([scope, words]) => [h("input", { type: "checkbox", value: scope, checked: scope === "read" }), scope, words]);
  const makeBody = () => ({
    kind: kind.value,
    name: name.value.trim(),
    scopes: boxes.filter(([box]) => box.checked).map(([box]) => box.value),
    ...(expires.value.trim() ? { expires: expires.value.trim() } : {}),
  });
  const form = makeForm(
    [
      makeField("Kind", kind),
      makeField("Name", name, { hint: "Who will use it: letters, digits, . _ - @ +" }),
      h("fieldset", { class: "field", "data-name": "scopes" }, h("legend", null, "It may"), boxes.map(([box, scope, words]) => h("label", { class: "choice" }, box, ` ${scope}: ${words}`)), h("small")),
      makeField("Expires", expires, { hint: "30d, 12h, 4w, or a date" }),
    ],
    {
      label: "Make it",
      describe: () => ({ method: "POST", path: "api/tokens", body: makeBody() }),
      act: async () => {
        const made = await send("POST", "api/tokens", makeBody());
        dialog.close();
        showSecret(made);
        reload();
      },
    },
  );
  const dialog = openDialog("Make a token", form);
  name.focus();
}

// Show a secret the only time that it can be seen; only its own button closes this.
function showSecret({ kind, name, secret }) {
  const field = h("input", { readonly: true, value: secret, class: "mono", "aria-label": `Secret of ${name}`, onfocus: (event) => event.target.select() });
  const dialog = openDialog(
    `${NOUNS[kind]} ${name}`,
    [
      h("p", null, "This is shown once: copy it now. Only its SHA-256 is kept."),
      h("div", { class: "bar" }, field, makeCopyButton(() => secret, "Copy")),
      h("p", { class: "hint" }, USES[kind](name)),
      h("div", { class: "actions" }, h("button", { type: "button", class: "main", onclick: () => dialog.close() }, "I have copied it")),
    ],
    { mayClose: () => false },
  );
  dialog.node.querySelector("header button").remove();
  field.focus();
}
