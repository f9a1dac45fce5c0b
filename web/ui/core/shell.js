// What stands around every view: the names of the views, who is signed in, how fresh all is.

import { h, setText, show } from "./dom.js";
import { retryFeed, watchFeed } from "./live.js";
import { makeLink, readAddress, whenViewChanges } from "./router.js";
import { chooseZone, getZone, nameZone, writeShortTime } from "./format.js";
import { me, signOut, whenCallerChanges } from "./signin.js";

const PLACES = [
  ["overview", "Overview"],
  ["jobs", "Jobs"],
  ["runs", "Runs"],
  ["sweeps", "Sweeps"],
  ["workflows", "Workflows"],
  ["nodes", "Nodes"],
  ["reports", "Reports"],
  ["files", "Files"],
  ["history", "History"],
  ["settings", "Settings"],
];

// Build the frame of the page. Returns the place for views.
export function buildShell(root) {
  const links = PLACES.map(([name, title]) => h("a", { href: makeLink([name]), "data-place": name }, title));
  const outlet = h("main", { id: "main", tabindex: -1 });
  const search = h("button", { type: "button", id: "search", class: "plain", title: "Search and commands: / or Ctrl-K" }, "Search  /");
  root.append(
    h("a", { class: "skip", href: "#main", onclick: skipToMain }, "Skip to the view"),
    h("header", { class: "shell" }, h("nav", { "aria-label": "Views" }, links), h("div", { class: "side" }, search, makeZoneSwitch(), makeCaller())),
    makeFreshness(),
    outlet,
  );
  whenViewChanges((parts) => markPlace(links, parts[0] ?? "overview"));
  markPlace(links, readAddress().parts[0] ?? "overview");
  return outlet;

  function skipToMain(event) {
    event.preventDefault();
    outlet.focus();
  }
}

function markPlace(links, place) {
  for (const link of links) {
    if (link.dataset.place === place) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function makeZoneSwitch() {
  const select = h("select", { "aria-label": "Time zone", onchange: () => chooseZone(select.value) });
  whenCallerChanges(() => {
    const names = [["viewer", "your time"], ["UTC", "UTC"], ["cluster", "cluster"]];
    show(select, names.map(([value, title]) => h("option", { value }, title)));
    select.value = getZone();
    select.title = nameZone();
  });
  return select;
}

function makeCaller() {
  const place = h("span", { class: "caller" });
  whenCallerChanges(() => {
    const leave = h("button", { type: "button", class: "plain", onclick: signOut }, "Sign out");
    show(place, h("span", { title: [...me.scopes].join(", ") }, me.user), me.session.has_session && leave);
  });
  return place;
}

// The line that says so when the page is not live any more; what it shows stays.
function makeFreshness() {
  const text = h("span");
  const line = h("p", { class: "stale", role: "status", hidden: true }, text, " ", h("button", { type: "button", onclick: retryFeed }, "Try now"));
  let timer = 0;
  watchFeed((state) => {
    clearTimeout(timer);
    line.hidden = true;
    if (state.live) return;
    // A server that is just started anew is back within a moment.
    timer = setTimeout(() => {
      setText(text, `Not live since ${writeShortTime(state.since)}, trying again.`);
      line.hidden = false;
    }, 2000);
  });
  return line;
}

// Put state and progress into the tab: its title, and a mark in the icon.
export function setTitle(title, { family = null, progress = null } = {}) {
  const marks = { waiting: "○", running: "▶", done: "✓", failed: "✗", cancelled: "–", unknown: "?" };
  document.title = [family && marks[family], progress, title, "– Sluice"].filter(Boolean).join(" ");
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
