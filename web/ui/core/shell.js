// What stands around every view: the names of the views, who is signed in, how fresh all is.

import { h, makeChoice, setText, show } from "./dom.js";
import { hearChanges, retryFeed, watchFeed } from "./live.js";
import { goTo, makeLink, readAddress, whenViewChanges } from "./router.js";
import { chooseZone, getZone, nameZone, whenZoneChanges, writeShortTime, ZONES } from "./format.js";
import { areKeysOn, bindKey, makeKeyTable } from "./keys.js";
import { openDialog } from "./dialog.js";
import { tickAges } from "./marks.js";
import { notify } from "./notice.js";
import { FAMILIES } from "./states.js";
import { findCallerAgain, me, signOut, whenCallerChanges } from "./signin.js";

const AGE_MS = 1000;
const RESTART_MS = 2000; // a server that is just started anew is back within this
const JUMPS = { o: "overview", j: "jobs", r: "runs", s: "sweeps", w: "workflows", n: "nodes", f: "files", h: "history" };

const PLACES = ["overview", "jobs", "runs", "sweeps", "workflows", "nodes", "reports", "files", "history", "settings"];
const SECTIONS = { partitions: "nodes", compare: "runs", templates: "workflows" };
const writeTitle = (place) => place[0].toUpperCase() + place.slice(1);

// Build the frame of the page. Returns the place for views.
export function buildShell(root) {
  const links = PLACES.map((place) => h("a", { href: makeLink([place]), "data-place": place }, writeTitle(place)));
  const outlet = h("main", { id: "main", tabindex: -1 });
  const title = "Search and commands: / or Ctrl-K";
  const search = h("button", { id: "search", class: "plain", title, onclick: openBox }, "Search ", h("kbd", null, "/"));
  const side = h("div", { class: "side" }, search, makeCluster(), makeZoneSwitch(), makeCaller());
  root.append(
    h("a", { class: "skip", href: "#main", onclick: skipToMain }, "Skip to the view"),
    h("header", { class: "shell" }, h("nav", { "aria-label": "Views" }, links), side),
    makeFreshness(),
    outlet,
  );
  bindKeys();
  setInterval(tickAges, AGE_MS);
  whenZoneChanges(tickAges);
  const showPlace = ([place = "overview"]) => {
    setTitle(writeTitle(place));
    markPlace(links, SECTIONS[place] ?? place);
  };
  whenViewChanges(showPlace);
  showPlace(readAddress().parts);
  return outlet;

  function skipToMain(event) {
    event.preventDefault();
    outlet.focus();
  }
}

function markPlace(links, place) {
  for (const link of links) {
    if (link.dataset.place === place) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView?.({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
}

// --- keys ----------------------------------------------------------------------------------------------------------------

const loadBox = () => import("../shell/commands.js");

async function openBox() {
  const { openCommands } = await loadBox();
  const views = PLACES.map((place) => ({ title: `Go to ${place}`, hint: "view", act: () => goTo(makeLink([place])) }));
  openCommands([...views, { title: "Keys and what they do", hint: "command", act: openKeys }]);
}

function bindKeys() {
  loadBox(); // so that it is there before the next key is pressed
  bindKey("/", "search and commands", openBox);
  bindKey("?", "this list of keys", openKeys);
  for (const [key, place] of Object.entries(JUMPS)) bindKey(`g ${key}`, `go to ${place}`, () => goTo(makeLink([place])));
  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) openBox();
  });
}

function openKeys() {
  const state = areKeysOn() ? "Single keys act outside of fields." : "Single keys are switched off.";
  const link = h("a", { href: makeLink(["settings", "page"]), onclick: () => dialog.close() }, "Switch them on or off");
  const dialog = openDialog("Keys", [h("p", null, `${state} `, link), makeKeyTable()]);
}

function makeZoneSwitch() {
  const select = makeChoice("Time zone", Object.entries(ZONES), getZone(), chooseZone);
  const draw = () => {
    select.value = getZone();
    select.title = nameZone();
  };
  whenCallerChanges(draw);
  whenZoneChanges(draw);
  addEventListener("storage", (event) => event.key === "zone" && event.newValue && chooseZone(event.newValue)); // chosen in another tab
  draw();
  return select;
}

function makeCluster() {
  const place = h("a", { class: "cluster", href: makeLink(["settings", "profiles"]) });
  whenCallerChanges(() => {
    setText(place, me.session.cluster);
    place.title = `The cluster in force: ${me.session.cluster}`;
  });
  hearChanges(["profile"], () => findCallerAgain());
  return place;
}

function makeCaller() {
  const place = h("span", { class: "caller" });
  whenCallerChanges(() => {
    const leave = h("button", { class: "plain", onclick: signOut }, "Sign out");
    show(place, h("span", { title: [...me.scopes].join(", ") }, me.user), me.session.has_session && leave);
  });
  return place;
}

// The line that says so when the page is not live any more; what it shows stays.
function makeFreshness() {
  const text = h("span");
  const again = h("button", { onclick: retryFeed }, "Try now");
  const line = h("p", { class: "stale", role: "status", hidden: true }, text, " ", again);
  let timer = 0;
  let wasLive = false;
  watchFeed((state) => {
    clearTimeout(timer);
    if (state.live) {
      if (!line.hidden && wasLive) notify("Live again: all that has changed meanwhile is shown");
      wasLive = true;
      line.hidden = true;
      return;
    }
    const tell = () => {
      const since = wasLive ? `Not live since ${writeShortTime(state.since)}` : "Not live yet";
      setText(text, `${since}${describeStatus(state.status)}, trying again.`);
      line.hidden = false;
    };
    if (line.hidden) timer = setTimeout(tell, RESTART_MS);
    else tell();
  });
  return line;
}

function describeStatus(status) {
  if (status === 401) return ": you are signed out";
  if (status === 429) return ": the server is asked too often";
  return status >= 500 ? `: the answer is ${status}` : "";
}

// Put state and progress into the tab: its title, and a mark in the icon.
export function setTitle(title, { family = null, progress = null } = {}) {
  document.title = [FAMILIES[family]?.mark, progress, title, "– Sluice"].filter(Boolean).join(" ");
  setIcon(family);
}

const SHAPES = {
  waiting: ["#777", "M8 3a5 5 0 1 0 .01 0z"],
  running: ["#0b62b0", "M4 3l9 5-9 5z"],
  done: ["#1a7431", "M3 8l3 4 7-8"],
  failed: ["#b3261e", "M4 4l8 8M12 4l-8 8"],
  cancelled: ["#6b6b6b", "M3 8h10"],
  unknown: ["#6b6b6b", "M6 6a2 2 0 1 1 2 3v2"],
};
let shownIcon;

function setIcon(family) {
  if (family === shownIcon) return;
  shownIcon = family;
  const link = document.querySelector("link[rel=icon]");
  link.dataset.plain ??= link.href;
  const [colour, path] = SHAPES[family] ?? [];
  const drawn = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="${path}" fill="none" stroke="${colour}" stroke-width="2.5"/></svg>`;
  link.href = family ? `data:image/svg+xml,${encodeURIComponent(drawn)}` : link.dataset.plain;
}
