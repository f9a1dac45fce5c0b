// SSH profiles: which cluster is in force, where others are, and whether they can be reached.

import { h, show } from "../core/dom.js";
import { get, getWhole, request } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { makeCurlButton, openForm } from "../core/dialog.js";
import { makeFacts, makePane, showItems, showPanes } from "../core/pane.js";
import { makeState } from "../core/marks.js";
import { notify, showEmpty } from "../core/notice.js";
import { makeLink } from "../core/router.js";

const PATH = "api/config/ssh/profiles";
const findPath = (name) => `${PATH}/${encodeURIComponent(name)}`;

// Open the part.
export function open(place) {
  const reload = () => panes.forEach((pane) => pane.document.reload());
  const panes = [
    makePane({ title: "Clusters in view", kinds: ["profile", "resource"], calm_ms: 3000, load: ({ signal }) => get("api/config/ssh/status", {}, { signal }), draw: (body, status) => drawStatus(body, status, reload) }),
    makePane({
      title: "Profiles",
      actions: [makeButton("Add a profile…", () => openProfile(null, {}, null, reload), { scope: "admin" })],
      kinds: ["profile"],
      load: async ({ signal }) => {
        const { data, etag } = await getWhole(PATH, {}, { signal });
        return { ...data, etag };
      },
      draw: (body, value) => drawProfiles(body, value, reload),
    }),
  ];
  return showPanes(place, null, panes);
}

function drawStatus(place, { profile_name, clusters }, reload) {
  const leave = profile_name && makeAction({ label: "Back to the cluster here", scope: "admin", call: () => ({ method: "POST", path: "api/config/ssh/deactivate" }), done: () => (reload(), "No profile is current any more") });
  const rows = clusters.map(({ name, in_force, answers, error }) => h("li", null, h("div", { class: "item" }, makeState(answers ? "answers" : "silent", answers ? "done" : "failed"), h("strong", null, name), in_force && h("span", { class: "hint" }, "in force")), error && h("p", null, error)));
  show(place, h("ul", { class: "items" }, rows), leave);
}

// What a test has said of a profile stays until the profile is another one.
function drawProfiles(place, { current, profiles, etag }, reload) {
  const rows = Object.entries(profiles).map(([name, profile]) => ({ name, profile, isCurrent: name === current, etag }));
  if (rows.length === 0) return showEmpty(place, "There are no profiles yet. A profile leads to a cluster on another machine, over SSH.");
  showItems(place, rows, ({ name }) => name, (row) => fillProfile(h("li", null, h("div"), h("div", { class: "outcome", role: "status" })), row, reload), (item, row) => fillProfile(item, row, reload));
}

function fillProfile(item, { name, profile, isCurrent, etag }, reload) {
  const [place, outcome] = item.children;
  const host = profile.ssh_host ?? [profile.username, profile.hostname].filter(Boolean).join("@");
  show(
    place,
    h("div", { class: "item" }, h("strong", null, name), isCurrent && makeState("current", "done"), h("span", null, profile.description)),
    makeFacts([
      ["Host", host ? `${host}${profile.port === 22 ? "" : `, port ${profile.port}`}` : "none: mounts for the cluster here"],
      ["Over", profile.proxy_jump],
      ["Key", profile.key_filename],
      ["Mounts", profile.mounts.length > 0 && h("a", { href: makeLink(["files"]) }, profile.mounts.map((mount) => mount.name).join(", "))],
      ["Variables", Object.keys(profile.env_vars).join(", ")],
    ]),
    h(
      "div",
      { class: "actions" },
      makeTry("Test", name, outcome, () => {}),
      makeTry("Connect", name, outcome, reload),
      makeButton("Change…", () => openProfile(name, profile, etag, reload), { scope: "admin" }),
      makeAction({ label: "Delete", scope: "admin", question: () => `Delete the profile ${name} with ${profile.mounts.length} mounts? No file on any machine is deleted.`, call: () => ({ method: "DELETE", path: findPath(name) }), done: () => (reload(), `The profile ${name} is deleted`) }),
    ),
  );
  return item;
}

function makeTry(label, name, outcome, done) {
  const call = () => ({ method: "POST", path: `${findPath(name)}/${label.toLowerCase()}` });
  const button = makeButton(label, attempt, { scope: "admin" });
  return h("span", { class: "action" }, button, makeCurlButton(call));

  async function attempt() {
    button.disabled = true;
    show(outcome, h("p", { class: "hint" }, "Trying…"));
    try {
      const { method, path } = call();
      show(outcome, describeOutcome((await request(method, path)).data, label));
      done();
    } catch (problem) {
      show(outcome, h("p", { role: "alert" }, `${label}: ${problem.message}`));
    }
    button.disabled = false;
  }
}

const STEP_FAMILIES = { passed: "done", failed: "failed" };

function describeOutcome({ steps = [], error, slurm_version, warnings = [] }, label) {
  const sentence = error ?? `${label} went well${slurm_version ? `: SLURM ${slurm_version}` : ""}.`;
  const lines = steps.map(({ name, state }) => h("li", null, makeState(`${name.replaceAll("_", " ")}: ${state}`, STEP_FAMILIES[state] ?? "cancelled")));
  return [h("p", null, sentence), h("ul", { class: "steps" }, lines), warnings.map((warning) => h("p", { class: "hint" }, warning))];
}

const FIELDS = [
  ["hostname", "Host", "login.example.org; or leave it out and name a host of ~/.ssh/config"],
  ["username", "User", "on that host"],
  ["port", "Port", "22 if left out"],
  ["key_filename", "Key file", "on the server’s machine; its agent and usual keys if left out"],
  ["proxy_jump", "Jump host", "USER@HOST, if there is one between"],
  ["ssh_host", "Host of ~/.ssh/config", "used in place of the host"],
  ["description", "Description", "for people"],
];

function openProfile(name, profile, etag, reload) {
  const isNew = name === null;
  // What is emptied is taken away; what was empty is not said.
  const read = (key, value) => (value === undefined ? (profile[key] ? null : undefined) : key === "port" && /^\d+$/.test(value) ? Number(value) : value);
  openForm(isNew ? "Add a profile" : `Change ${name}`, [["name", "Name", "", { value: name ?? "", required: true, disabled: !isNew }], ...FIELDS.map(([key, label, hint]) => [key, label, hint, { value: profile[key] ?? "" }])], {
    label: isNew ? "Add" : "Save",
    version: etag,
    call: ({ name: given = "", ...values }) => {
      const body = Object.fromEntries(FIELDS.map(([key]) => [key, read(key, values[key])]));
      return isNew ? { method: "POST", path: PATH, body: { name: given, ...body } } : { method: "PUT", path: findPath(name), body };
    },
    done: () => {
      notify(isNew ? "The profile is added" : `The profile ${name} is changed`);
      reload();
    },
  });
}
