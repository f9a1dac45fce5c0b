// Addresses of views: #/jobs/42?tab=log. The address is the view: opened elsewhere it shows the same.

import { debounce, makeListeners } from "./dom.js";

const router = { routes: [], outlet: null, close: null, current: null, listeners: makeListeners(), keepers: new Map() };
const KEEP_MS = 200; // so long after the last scrolling the place is kept

// Name the views: [["jobs/:id", () => import("../views/job.js")], …], the more special first.
export function setRoutes(routes, outlet) {
  router.routes = routes.map(([pattern, load]) => ({ parts: pattern.split("/").filter(Boolean), load }));
  router.outlet = outlet;
  history.scrollRestoration = "manual";
  addEventListener("popstate", showCurrent);
  addEventListener("scroll", saveSoon, { capture: true, passive: true });
  return showCurrent();
}

// Return the address that the location names: { parts, query }.
export function readAddress(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodePart), query: new URLSearchParams(query) };
}

// What is no encoded text is taken as it stands, such as the % that somebody typed.
function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// Return the text of an address: makeLink(["jobs", "42_7"], { tab: "log" }).
export function makeLink(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

// Go to an address, as a click on its link does.
export function goTo(link) {
  saveScroll();
  if (link !== location.hash) history.pushState(null, "", link); // the second click of a double click leads nowhere else
  return showCurrent();
}

// Change the query of the view that is shown, without a new entry in the history of the browser.
export function changeQuery(changes) {
  const { parts, query } = readAddress();
  const merged = { ...Object.fromEntries(query), ...changes };
  history.replaceState(history.state, "", makeLink(parts, merged));
}

// Be told when another view is shown. Returns what ends it.
export function whenViewChanges(listener) {
  return router.listeners.listen(listener);
}

// Return a function that says whether the view that is shown now still is: for what opens after an answer.
export function keepView() {
  const view = router.current;
  return () => router.current === view;
}

// Let links of the page change the view without loading the page again.
export function catchClicks(root) {
  root.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='#/']");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    goTo(link.getAttribute("href"));
  });
}

// Keep a place inside of the view, such as a table's, for whoever comes back to this address.
//
// `findPlace` returns it, or undefined at the beginning. Returns the place that was kept, or null.
export function keepPlace(name, findPlace) {
  router.keepers.set(name, findPlace);
  return history.state?.places?.[name] ?? null;
}

const saveSoon = debounce(() => router.isShown && saveScroll(), KEEP_MS);

function saveScroll() {
  const places = Object.fromEntries([...router.keepers].map(([name, findPlace]) => [name, findPlace()]));
  history.replaceState({ ...history.state, scroll: [scrollX, scrollY], places }, "", location.href);
}

function match(route, parts) {
  if (route.parts.length !== parts.length) return null;
  const values = {};
  for (const [at, part] of route.parts.entries()) {
    if (part.startsWith(":")) values[part.slice(1)] = parts[at];
    else if (part !== parts[at]) return null;
  }
  return values;
}

// Show the view of the location. A view is a module with `open(outlet, { params, query })`, which returns what closes it.
async function showCurrent() {
  const { parts, query } = readAddress();
  const found = router.routes.map((route) => ({ route, params: match(route, parts) })).find(({ params }) => params);
  const token = (router.current = {});
  router.isShown = false; // what the reader left is not the place in what comes
  router.listeners.tell(parts);
  const view = found ? await found.route.load().catch(() => "missing") : null;
  if (router.current !== token) return; // another one was asked for meanwhile
  router.close?.();
  router.close = null;
  router.keepers.clear();
  const page = document.createElement("div");
  page.className = "view";
  router.outlet.replaceChildren(page);
  if (view === null) page.textContent = `There is nothing at ${location.hash}`;
  else if (view === "missing") page.textContent = "This view could not be loaded: the server is away, or newer than this page. Load the page again.";
  else openView(view, page, { params: found.params, query });
  router.isShown = true;
  restoreScroll();
}

// A view that breaks says so, and leaves the others alone.
function openView(view, page, given) {
  try {
    router.close = view.open(page, given) ?? null;
  } catch (problem) {
    page.textContent = "This view is broken; others may work. Load the page again, or report what the browser's console says.";
    reportError(problem);
  }
}

// Scroll to where the reader was, as soon as the view is long enough; give up when the reader scrolls.
function restoreScroll() {
  const [left, top] = history.state?.scroll ?? [0, 0];
  scrollTo(left, top);
  if (top === 0) return;
  const observer = new ResizeObserver(() => {
    scrollTo(left, top);
    if (Math.abs(scrollY - top) < 2) observer.disconnect();
  });
  observer.observe(router.outlet);
  for (const name of ["wheel", "keydown", "pointerdown"]) {
    addEventListener(name, () => observer.disconnect(), { once: true, passive: true });
  }
}
