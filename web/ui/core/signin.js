// Signing in: over the page, in place, so that nothing typed is lost.

import { h, makeListeners, show } from "./dom.js";
import { retryFeed, watchFeed } from "./live.js";
import { base, get, request, send, whenSignedOut } from "./api.js";
import { openDialog, makeField, makeForm } from "./dialog.js";
import { setClusterClock } from "./format.js";

export const me = { user: null, scopes: new Set(), session: null };
const watchers = makeListeners();
const tabs = new BroadcastChannel(`sluice ${base.pathname}`); // other tabs of this page: they sign in and out together

// Return whether the caller may do what needs this scope.
export const may = (scope) => me.scopes.has(scope);

// Be told when somebody has signed in or out. Returns what ends it.
export function whenCallerChanges(watcher) {
  return watchers.listen(watcher);
}

// Find out who calls: by the printed link, a cookie, or by asking.
export async function findCaller() {
  whenSignedOut(askOnce);
  tabs.addEventListener("message", ({ data }) => (data === "in" ? endAsking() : askOnce("You have signed out in another tab.")));
  watchFeed(({ status }) => status === 401 && askOnce());
  const code = new URLSearchParams(location.hash.replace(/^#\/?\??/, "")).get("code");
  if (code) {
    history.replaceState(null, "", "#/");
    try {
      return setCaller(await createSession({ code }));
    } catch (problem) {
      return await askOnce(problem.message);
    }
  }
  return setCaller(await get("api/session"));
}

// Find out anew who calls and which cluster is in force.
export async function findCallerAgain() {
  return setCaller(await get("api/session"));
}

// End the session, and ask who comes next.
export async function signOut() {
  await send("DELETE", "api/session");
  tabs.postMessage("out");
  location.reload();
}

function createSession(credentials) {
  const body = { ...credentials, path: base.pathname, secure: location.protocol === "https:" };
  return request("POST", "api/session", { body, isSigningIn: true }).then(({ data }) => data);
}

function setCaller(session) {
  Object.assign(me, { user: session.user, scopes: new Set(session.scopes), session });
  setClusterClock(session.time, session.utc_offset_minutes);
  watchers.tell(me);
  return session;
}

let asking = null; // { done, end }: the question, and what ends it where somebody has signed in elsewhere

function askOnce(message) {
  asking ??= ask(message);
  return asking.done;
}

// Another tab has signed in: its cookie counts here too.
async function endAsking() {
  if (asking === null) return;
  const answer = await request("GET", "api/session", { isSigningIn: true }).catch(() => null);
  if (answer) asking?.end(answer.data);
}

function ask(message) {
  const { promise, resolve } = Promise.withResolvers();
  const field = h("input", { name: "token", type: "password", autocomplete: "current-password", required: true, autofocus: true });
  const hint = "A token or API key of this server; “sluice token create” makes one";
  const form = makeForm([makeField("Token", field, { hint })], {
    label: "Sign in",
    act: async () => {
      end(await createSession({ token: field.value.trim() }));
      tabs.postMessage("in");
    },
  });
  const known = me.user === null ? "" : " What you have typed on the page is kept.";
  const dialog = openDialog("Sign in", [h("p", null, `${message ?? "This server asks who you are."}${known}`), form], { mayClose: () => false });
  dialog.node.querySelector("header button").remove();
  field.focus();
  const end = (session) => {
    asking = null;
    dialog.close();
    setCaller(session);
    retryFeed();
    resolve(session);
  };
  return { done: promise, end };
}

// Return why the caller may not do what needs this scope, in a sentence; null where it may.
export function explainLack(scope) {
  return may(scope) ? null : `This needs the scope ${scope}; ${me.user} has ${[...me.scopes].join(", ") || "none"}`;
}

// Show in a place what the caller may not do, in place of its control.
export function showDenied(place, scope) {
  return show(place, h("p", { class: "hint" }, `${explainLack(scope)}.`));
}
