// SSH profiles: which cluster is in force, where others are, and whether they can be reached.

import { h, show } from "../core/dom.js";
import { getWhole, request } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { makeCurlButton, openForm } from "../core/dialog.js";
import { makeFacts, makePane, showItems, showPanes } from "../core/pane.js";
import { writeCount } from "../core/format.js";
import { makeState } from "../core/marks.js";
import { notify, showEmpty } from "../core/notice.js";
import { makeLink } from "../core/router.js";

const PATH = "api/config/ssh/profiles";
const findPath = (name) => `${PATH}/${encodeURIComponent(name)}`;

// Open the part.
export function open(place) {
  const panes = [
    makePane({
      title: "Clusters in view",
      kinds: ["profile", "resource"],
      calm_ms: 3000,
      load: "api/config/ssh/status",
      draw: drawStatus,
    }),
    makePane({
      title: "Profiles",
      actions: [makeButton("Add a profile…", () => openProfile(null, {}, null), { scope: "admin" })],
      kinds: ["profile"],
      load: async ({ signal }) => {
        const { data, etag } = await getWhole(PATH, {}, { signal });
        return { ...data, etag };
      },
      draw: drawProfiles,
    }),
  ];
  return showPanes(place, null, panes);
}

function drawStatus(place, { profile_name, clusters }) {
  const leave = makeAction({
    label: "Back to the cluster here",
    scope: "admin",
    call: () => ({ method: "POST", path: "api/config/ssh/deactivate" }),
    done: () => "No profile is current any more",
  });
  const rows = clusters.map(({ name, in_force, answers, error }) => {
    const state = answers ? makeState("answers", "done") : makeState("silent", "failed");
    const head = h("div", { class: "item" }, state, h("strong", null, name), in_force && h("span", { class: "hint" }, "in force"));
    return h("li", null, head, error && h("p", null, error));
  });
  show(place, h("ul", { class: "items" }, rows), profile_name && leave);
}

// What a test has said of a profile stays until the profile is another one.
function drawProfiles(place, { current, profiles, etag }) {
  const rows = Object.entries(profiles).map(([name, profile]) => ({ name, profile, isCurrent: name === current, etag }));
  if (rows.length === 0) return showEmpty(place, "There are no profiles yet. A profile leads to a cluster on another machine, over SSH.");
  const make = (row) => fillProfile(h("li", null, h("div", { class: "pane" }), h("div", { class: "outcome", role: "status" })), row);
  showItems(place, rows, ({ name }) => name, make, fillProfile);
}

function fillProfile(item, { name, profile, isCurrent, etag }) {
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
      makeTry("Test", name, outcome),
      makeTry("Connect", name, outcome),
      makeButton("Change…", () => openProfile(name, profile, etag), { scope: "admin" }),
      makeAction({
        label: "Delete",
        scope: "admin",
        question: () => `Delete the profile ${name} with ${writeCount(profile.mounts.length, "mount")}? No file on any machine is deleted.`,
        call: () => ({ method: "DELETE", path: findPath(name) }),
        done: () => `The profile ${name} is deleted`,
      }),
    ),
  );
  return item;
}

function makeTry(label, name, outcome) {
  const call = () => ({ method: "POST", path: `${findPath(name)}/${label.toLowerCase()}` });
  const button = makeButton(label, attempt, { scope: "admin" });
  return h("span", { class: "action" }, button, makeCurlButton(call));

  async function attempt() {
    button.disabled = true;
    show(outcome, h("p", { class: "hint" }, "Trying…"));
    try {
      const { method, path } = call();
      show(outcome, describeOutcome((await request(method, path)).data, label));
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

function openProfile(name, profile, etag) {
  const isNew = name === null;
  // What is emptied is taken away; what was empty is not said.
  const read = (key, value) => {
    if (value === undefined) return profile[key] ? null : undefined;
    return key === "port" && /^\d+$/.test(value) ? Number(value) : value;
  };
  const fields = FIELDS.map(([key, label, hint]) => [key, label, hint, { value: profile[key] ?? "" }]);
  const title = isNew ? "Add a profile" : `Change ${name}`;
  openForm(title, [["name", "Name", "", { value: name ?? "", required: true, disabled: !isNew }], ...fields], {
    label: isNew ? "Add" : "Save",
    version: etag,
    call: ({ name: given = "", ...values }) => {
      const body = Object.fromEntries(FIELDS.map(([key]) => [key, read(key, values[key])]));
      return isNew ? { method: "POST", path: PATH, body: { name: given, ...body } } : { method: "PUT", path: findPath(name), body };
    },
    done: () => notify(isNew ? "The profile is added" : `The profile ${name} is changed`),
  });
}
