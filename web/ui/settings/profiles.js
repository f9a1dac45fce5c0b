// SSH profiles: which cluster is in force, where others are, and whether they can be reached.

import { h, show } from "../core/dom.js";
import { get, getWhole, request, send } from "../core/api.js";
import { makeAction } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { makeFacts, makePane } from "../core/pane.js";
import { makeState } from "../core/marks.js";
import { notify, showEmpty } from "../core/notice.js";
import { makeLink } from "../core/router.js";
import { may } from "../core/signin.js";

const PATH = "api/config/ssh/profiles";

// Open the part.
export function open(place) {
  const reload = () => panes.forEach((pane) => pane.document.reload());
  const add = h("button", { type: "button", disabled: !may("admin"), title: may("admin") ? null : "This needs the scope admin", onclick: () => openProfile(null, null, reload) }, "Add a profile…");
  const panes = [
    makePane({ title: "Clusters in view", kinds: ["profile", "resource"], calm_ms: 3000, load: ({ signal }) => get("api/config/ssh/status", {}, { signal }), draw: (body, status) => drawStatus(body, status, reload) }),
    makePane({
      title: "Profiles",
      actions: [add],
      kinds: ["profile"],
      load: async ({ signal }) => {
        const { data, etag } = await getWhole(PATH, {}, { signal });
        return { ...data, etag };
      },
      draw: (body, value) => drawProfiles(body, value, reload),
    }),
  ];
  show(place, panes.map(({ node }) => node));
  return () => panes.forEach(({ close }) => close());
}

function drawStatus(place, { profile_name, clusters }, reload) {
  const leave = profile_name && makeAction({ label: "Back to the cluster here", scope: "admin", call: () => ({ method: "POST", path: "api/config/ssh/deactivate" }), done: () => (reload(), "No profile is current any more") });
  const rows = clusters.map(({ name, in_force, answers, error }) => h("li", null, h("div", { class: "item" }, makeState(answers ? "answers" : "silent", answers ? "done" : "failed"), h("strong", null, name), in_force && h("span", { class: "hint" }, "in force")), error && h("p", null, error)));
  show(place, h("ul", { class: "items" }, rows), leave);
}

function drawProfiles(place, { current, profiles, etag }, reload) {
  const names = Object.keys(profiles);
  if (names.length === 0) return showEmpty(place, "There are no profiles yet. A profile leads to a cluster on another machine, over SSH.");
  // What a test has said stays until the next one.
  const before = new Map([...place.querySelectorAll("li[data-key]")].map((item) => [item.dataset.key, item.querySelector(".outcome")]));
  show(place, h("ul", { class: "items" }, names.map((name) => makeProfile(name, profiles[name], name === current, etag, before.get(name), reload))));
}

function makeProfile(name, profile, isCurrent, etag, before, reload) {
  const path = `${PATH}/${encodeURIComponent(name)}`;
  const outcome = before ?? h("div", { class: "outcome", role: "status" });
  const host = profile.ssh_host ?? [profile.username, profile.hostname].filter(Boolean).join("@");
  return h(
    "li",
    { "data-key": name },
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
      makeTry("Test", name, "test", outcome, () => {}),
      makeTry("Connect", name, "connect", outcome, reload),
      h("button", { type: "button", disabled: !may("admin"), onclick: () => openProfile(name, profile, reload, etag) }, "Change…"),
      makeAction({ label: "Delete", scope: "admin", question: () => `Delete the profile ${name} with ${profile.mounts.length} mounts? No file on any machine is deleted.`, call: () => ({ method: "DELETE", path }), done: () => (reload(), `The profile ${name} is deleted`) }),
    ),
    outcome,
  );
}

function makeTry(label, name, verb, outcome, done) {
  const button = h("button", { type: "button", disabled: !may("admin"), title: may("admin") ? null : "This needs the scope admin" }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    show(outcome, h("p", { class: "hint" }, "Trying…"));
    try {
      const { data } = await request("POST", `api/config/ssh/profiles/${encodeURIComponent(name)}/${verb}`);
      show(outcome, describeOutcome(data, label));
      done();
    } catch (problem) {
      show(outcome, h("p", { role: "alert" }, `${label}: ${problem.message}`));
    }
    button.disabled = false;
  });
  return button;
}

const STEP_FAMILIES = { passed: "done", failed: "failed" };

function describeOutcome(data, label) {
  const steps = (data.steps ?? []).map(({ name, state }) => h("li", null, makeState(`${name.replaceAll("_", " ")}: ${state}`, STEP_FAMILIES[state] ?? "cancelled")));
  const sentence = data.error ?? `${label} went well${data.slurm_version ? `: SLURM ${data.slurm_version}` : ""}.`;
  return [h("p", null, sentence), h("ul", { class: "steps" }, steps), (data.warnings ?? []).map((warning) => h("p", { class: "hint" }, warning))];
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

function openProfile(name, profile, reload, etag) {
  const naming = h("input", { name: "name", value: name ?? "", required: true, disabled: name !== null, autocomplete: "off" });
  const inputs = FIELDS.map(([key]) => h("input", { name: key, value: profile?.[key] ?? "", autocomplete: "off", spellcheck: "false" }));
  const path = name === null ? PATH : `${PATH}/${encodeURIComponent(name)}`;
  const method = name === null ? "POST" : "PUT";
  const makeBody = () => {
    const given = inputs.map(({ name: key, value }) => [key, value.trim()]).filter(([key, value]) => value !== "" || profile?.[key]);
    const values = Object.fromEntries(given.map(([key, value]) => [key, value === "" ? null : key === "port" && /^\d+$/.test(value) ? Number(value) : value]));
    return name === null ? { name: naming.value.trim(), ...values } : values;
  };
  const form = makeForm([makeField("Name", naming), FIELDS.map(([, label, hint], at) => makeField(label, inputs[at], { hint }))], {
    label: name === null ? "Add" : "Save",
    describe: () => ({ method, path, body: makeBody() }),
    act: async () => {
      await send(method, path, makeBody(), { version: etag });
      dialog.close();
      notify(`The profile ${name ?? naming.value.trim()} is kept`);
      reload();
    },
  });
  const dialog = openDialog(name === null ? "Add a profile" : `Change ${name}`, form);
  (name === null ? naming : inputs[0]).focus();
}
