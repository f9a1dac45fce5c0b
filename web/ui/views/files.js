// Files: the mounts of the current profile, what lies in them, and copying them to their cluster.

import { h, setText, show } from "../core/dom.js";
import { get } from "../core/api.js";
import { makeLiveDocument } from "../core/live.js";
import { makeTable } from "../core/table.js";
import { changeQuery, makeLink } from "../core/router.js";
import { toMs, whenZoneChanges, writeBytes, writeCount, writeTime } from "../core/format.js";
import { showEmpty, showProblem } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { makeFilePane } from "../files/file.js";
import { makeSync } from "../files/sync.js";

const KINDS = { directory: "folder", file: "file", symlink: "link" };

// Open the view.
export function open(outlet, { params, query }) {
  setTitle(params.mount ? `Files of ${params.mount}` : "Files");
  return params.mount ? openMount(outlet, params.mount, query) : openMounts(outlet);
}

// --- mounts --------------------------------------------------------------------------------------------------------

function openMounts(outlet) {
  const place = h("div");
  show(outlet, h("div", { class: "bar" }, h("h1", null, "Files")), place);
  const mounts = makeLiveDocument({ kinds: ["profile"], isOwn: () => true, load: ({ signal }) => get("api/files/mounts", {}, { signal }) });
  mounts.listen(() => {
    if (mounts.state === "failed") return showProblem(place, "The mounts", mounts.problem, mounts.reload);
    if (mounts.value.length === 0) {
      const link = h("a", { href: makeLink(["settings", "profiles"]) }, "Add one in the settings");
      return showEmpty(place, "The current profile has no mounts. A mount is a folder here and the folder on the cluster that it is copied to.", link);
    }
    const rows = mounts.value.map((mount) => h("tr", null, h("th", { scope: "row" }, h("a", { href: makeLink(["files", mount.name]) }, mount.name)), h("td", { class: "mono" }, mount.remote)));
    const head = h("tr", null, ["Mount", "On the cluster"].map((title) => h("th", { scope: "col" }, title)));
    return show(place, h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Mounts" }, h("table", { class: "plain-table" }, h("thead", null, head), h("tbody", null, rows))));
  });
  return mounts.close;
}

// --- one folder ----------------------------------------------------------------------------------------------------

function openMount(outlet, mount, query) {
  const path = query.get("path") ?? "";
  const view = { rows: new Map(), file: query.get("file"), pane: null };
  const count = h("span", { class: "count", role: "status" });
  const place = h("div");
  const shown = h("div", { class: "pane" });
  const find = h("input", { type: "search", "aria-label": "Names", placeholder: "Name", value: query.get("name") ?? "" });
  const table = makeFolderTable(mount, path, query, openFile);
  const sync = makeSync(mount, query.get("sync"), (id) => changeQuery({ sync: id }));
  const again = h("button", { type: "button", onclick: load }, "Read again");
  show(outlet, h("div", { class: "bar" }, makeBreadcrumb(mount, path), count, find, again, sync.button), sync.node, place, shown);
  find.addEventListener("input", () => {
    changeQuery({ name: find.value });
    draw();
  });

  let abort = null;
  async function load() {
    abort?.abort();
    abort = new AbortController();
    const { signal } = abort;
    try {
      const found = await get("api/files/browse", { mount, path }, { signal });
      view.rows = new Map(found.entries.map((entry) => [entry.name, entry]));
      view.found = found;
      draw();
      if (view.file) openFile(view.file);
    } catch (problem) {
      if (!signal.aborted) showProblem(place, `The folder ${path || mount}`, problem, load);
    }
  }

  function draw() {
    const wanted = find.value.trim().toLowerCase();
    const fit = [...view.rows].filter(([name]) => name.toLowerCase().includes(wanted));
    const more = view.found.truncated ? ` (there are more than ${view.rows.size.toLocaleString("en")}: only these are listed)` : "";
    setText(count, `${wanted ? `${fit.length.toLocaleString("en")} of ` : ""}${writeCount(view.rows.size, "entry", "entries")}${more}; hidden files are never shown`);
    if (view.rows.size === 0) return showEmpty(place, "This folder is empty. Names that begin with a dot are not shown.");
    if (fit.length === 0) return showEmpty(place, "No name here fits.", h("button", { type: "button", onclick: clear }, "Clear the filter"));
    if (!table.node.isConnected) show(place, table.node);
    table.setRows(new Map(fit));
    return null;
  }

  function clear() {
    find.value = "";
    changeQuery({ name: "" });
    draw();
  }

  function openFile(name) {
    view.file = name;
    changeQuery({ file: name });
    view.pane?.close();
    view.pane = makeFilePane(mount, joinPath(path, name), view.rows.get(name), closeFile);
    show(shown, view.pane.node);
    view.pane.node.scrollIntoView({ block: "nearest" });
  }

  function closeFile() {
    view.pane?.close();
    Object.assign(view, { pane: null, file: null });
    show(shown);
    changeQuery({ file: "" });
    table.node.focus();
  }

  const stopZone = whenZoneChanges(table.draw);
  load();
  return () => {
    abort?.abort();
    stopZone();
    view.pane?.close();
    sync.close();
    table.close();
  };
}

function makeFolderTable(mount, path, query, openFile) {
  const isFolder = (entry) => entry.type === "directory" || entry.target_kind === "directory";
  const columns = [
    { key: "name", title: "Name", width: "minmax(14rem, 3fr)", value: (entry) => `${isFolder(entry) ? "0" : "1"}${entry.name}`, render: fillName },
    { key: "size", title: "Size", width: "7rem", numeric: true, value: (entry) => entry.size, write: (entry) => writeBytes(entry.size) },
    { key: "modified_at", title: "Changed", width: "11rem", value: (entry) => toMs(entry.modified_at), write: (entry) => writeTime(entry.modified_at) },
    { key: "type", title: "Kind", width: "minmax(8rem, 1fr)", value: (entry) => KINDS[entry.type], write: describeKind },
  ];

  function fillName(cell, entry) {
    const link = cell.firstElementChild ?? cell.appendChild(h("a"));
    if (link.dataset.name === entry.name) return;
    link.dataset.name = entry.name;
    setText(link, `${entry.name}${isFolder(entry) ? "/" : ""}`);
    if (entry.accessible === false) return;
    link.setAttribute("href", isFolder(entry) ? makeLink(["files", mount], { path: joinPath(path, entry.name) }) : makeLink(["files", mount], { path, file: entry.name }));
    link.addEventListener("click", (event) => {
      if (isFolder(entry) || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      openFile(entry.name);
    });
  }

  const text = query.get("sort") ?? "name";
  return makeTable({
    id: "files",
    label: `Files in ${path || mount}`,
    columns,
    sort: { key: text.replace(/^-/, ""), descending: text.startsWith("-") },
    whenSorted: (sort) => changeQuery({ sort: `${sort.descending ? "-" : ""}${sort.key}` }),
  });
}

function describeKind(entry) {
  if (entry.type !== "symlink") return KINDS[entry.type];
  return entry.accessible ? `link to a ${KINDS[entry.target_kind]}` : "link out of the mount: not followed";
}

const joinPath = (folder, name) => (folder ? `${folder}/${name}` : name);

function makeBreadcrumb(mount, path) {
  const names = path.split("/").filter(Boolean);
  const links = names.map((name, at) => [" / ", makeStep(name, makeLink(["files", mount], { path: names.slice(0, at + 1).join("/") }), at === names.length - 1)]);
  return h("h1", { class: "breadcrumb" }, h("a", { href: makeLink(["files"]) }, "Files"), " / ", makeStep(mount, makeLink(["files", mount]), names.length === 0), links);
}

const makeStep = (name, href, isLast) => (isLast ? h("span", { "aria-current": "page" }, name) : h("a", { href }, name));
