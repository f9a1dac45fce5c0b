// Who calls, with which scopes, and the tokens by which others may.

import { h, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { openDialog, openForm } from "../core/dialog.js";
import { makeFacts, makePane, makePlainTable, showPanes } from "../core/pane.js";
import { makeMark } from "../core/marks.js";
import { makeCopyButton, showEmpty } from "../core/notice.js";
import { getNow, writeTime } from "../core/format.js";
import { may, me, showDenied, signOut } from "../core/signin.js";

const NOUNS = { token: "Token", "api-key": "API key", client: "OAuth client" };
const USES = {
  token: () => "Sent as “Authorization: Bearer …”, everywhere.",
  "api-key": () => "Sent as “X-API-Key: …”, to /api/v1.",
  client: (name) => `Sent as client_secret of the client_id ${name} to /oauth/token.`,
};
const SCOPES = { read: "look", write: "submit, cancel, run", report: "report states of jobs", admin: "everything: configuration, nodes, tokens" };
const WAYS = {
  user: "the server’s own user, over this machine",
  token: "a token",
  key: "an API key",
  client: "an OAuth client",
  certificate: "a certificate",
  munge: "MUNGE",
};

// Open the part.
export function open(place) {
  return showPanes(place, null, [makeOwnPane(), makeTokensPane()]);
}

function makeOwnPane() {
  return makePane({ title: "You", load: "api/session", draw: drawOwn });
}

function drawOwn(place, { user, kind, expires_at, has_session }) {
  const describe = (scope, words, isAllowed) =>
    h("li", null, makeMark(isAllowed ? "done" : "cancelled"), `${scope}: ${words}${isAllowed ? "" : " (not allowed)"}`);
  const scopes = Object.entries(SCOPES).map(([scope, words]) => describe(scope, words, may(scope)));
  const facts = [["Name", user], ["Known by", WAYS[kind] ?? kind], ["Signed in until", writeTime(expires_at)]];
  show(place, makeFacts(facts), h("ul", { class: "steps" }, scopes), has_session && makeButton("Sign out", signOut));
}

function makeTokensPane() {
  const reload = () => pane.document.reload();
  const pane = makePane({
    title: "Tokens, API keys and OAuth clients",
    actions: [makeButton("Make one…", () => openToken(reload), { scope: "admin" })],
    load: async ({ signal }) => (may("admin") ? get("api/tokens", {}, { signal }) : null),
    draw(place, rows) {
      if (rows === null) return showDenied(place, "admin");
      if (rows.length === 0) return showEmpty(place, "There are none yet. A token lets a program, or a person on another machine, call this server.");
      const columns = ["Name", "Kind", "Scopes", ["Expires", "nowrap"], h("span", { class: "unseen" }, "Revoke")];
      show(place, makePlainTable("Tokens", columns, rows.map((row) => listCells(row, reload))));
    },
  });
  return pane;
}

function listCells({ kind, name, scopes, expires }, reload) {
  const revoke = makeAction({
    label: "Revoke",
    scope: "admin",
    question: () => `Revoke ${NOUNS[kind]} ${name}? Whoever uses it is refused at once.`,
    call: () => ({ method: "DELETE", path: `api/tokens/${kind}/${encodeURIComponent(name)}` }),
    done: () => (reload(), `${NOUNS[kind]} ${name} is revoked`),
  });
  const isOver = Date.parse(expires) < getNow();
  return [name, NOUNS[kind], scopes.join(", "), expires ? `${writeTime(expires)}${isOver ? " (over)" : ""}` : "never", revoke];
}

function openToken(reload) {
  const boxes = Object.keys(SCOPES).map((value) => h("input", { type: "checkbox", value, checked: value === "read" }));
  const choices = boxes.map((box) => h("label", { class: "choice" }, box, ` ${box.value}: ${SCOPES[box.value]}`));
  const listScopes = () => boxes.filter(({ checked }) => checked).map(({ value }) => value);
  openForm(
    "Make a token",
    [
      ["name", "Name", "Who will use it: letters, digits, . _ - @ +", { required: true }],
      ["kind", "Kind", "", { choices: Object.entries(NOUNS) }],
      h("fieldset", { class: "field", "data-name": "scopes" }, h("legend", null, "It may"), choices, h("small")),
      ["expires", "Expires", "30d, 12h, 4w, or a date", { placeholder: "never" }],
    ],
    {
      label: "Make it",
      call: ({ name = "", kind, expires }) => ({ method: "POST", path: "api/tokens", body: { kind, name, scopes: listScopes(), expires } }),
      done: (made) => {
        showSecret(made);
        reload();
      },
    },
  );
}

// Show a secret the only time that it can be seen; only its own button closes this.
function showSecret({ kind, name, secret }) {
  const field = h("input", { readonly: true, value: secret, class: "mono", "aria-label": `Secret of ${name}`, onfocus: () => field.select() });
  const dialog = openDialog(
    `${NOUNS[kind]} ${name}`,
    [
      h("p", null, "This is shown once: copy it now. Only its SHA-256 is kept."),
      h("div", { class: "bar" }, field, makeCopyButton(() => secret, "Copy")),
      h("p", { class: "hint" }, USES[kind](name)),
      h("div", { class: "actions" }, makeButton("I have copied it", () => dialog.close(), { class: "main" })),
    ],
    { mayClose: () => false },
  );
  dialog.node.querySelector("header button").remove();
  field.focus();
}
