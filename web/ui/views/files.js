// Files: the mounts of the current profile, what lies in them, and copying them to their cluster.

import { h, show } from "../core/dom.js";
import { makeButton } from "../core/action.js";
import { get } from "../core/api.js";
import { fillLink } from "../core/columns.js";
import { makeListView } from "../core/list_view.js";
import { makePane, makePlainTable, showPanes } from "../core/pane.js";
import { changeQuery, makeLink } from "../core/router.js";
import { writeBytes } from "../core/format.js";
import { showEmpty } from "../core/notice.js";
import { setTitle } from "../core/shell.js";
import { makeFilePane } from "../files/file.js";
import { makeSync } from "../files/sync.js";

const NO_MOUNTS =
  "The current profile has no mounts. A mount is a folder here and the folder on the cluster that it is copied to.";
const KINDS = { directory: "folder", file: "file", symlink: "link" };

// Open the view.
export function open(outlet, { params, query }) {
  return params.mount ? openFolder(outlet, params.mount, query) : openMounts(outlet);
}

function openMounts(outlet) {
  setTitle("Files");
  const pane = makePane({
    title: "Mounts",
    kinds: ["profile"],
    load: "api/files/mounts",
    draw: (place, mounts) => {
      const link = h("a", { href: makeLink(["settings", "profiles"]) }, "Add one in the settings");
      if (mounts.length === 0) return showEmpty(place, NO_MOUNTS, link);
      const rows = mounts.map(({ name, remote }) => [h("a", { href: makeLink(["files", name]) }, name), remote]);
      return show(place, makePlainTable("Mounts", ["Mount", ["On the cluster", "mono"]], rows));
    },
  });
  return showPanes(outlet, h("h1", null, "Files"), [pane]);
}

// --- one folder ----------------------------------------------------------------------------------------------------

const isFolder = (entry) => entry.type === "directory" || entry.target_kind === "directory";
const joinPath = (folder, name) => (folder ? `${folder}/${name}` : name);

function openFolder(outlet, mount, query) {
  const path = query.get("path") ?? "";
  const shown = h("div", { class: "pane" });
  let [file, pane] = [query.get("file"), null];
  const sync = makeSync(mount, query.get("sync"), (id) => changeQuery({ sync: id }));
  const view = makeListView({
    query,
    id: "files",
    title: `Files in ${path || mount}`,
    head: makeBreadcrumb(mount, path),
    noun: "entry",
    nouns: "entries",
    columns: [
      { key: "name", title: "Name", width: "minmax(14rem, 3fr)", value: (entry) => `${isFolder(entry) ? "0" : "1"}${entry.name}`, render: fillName },
      { key: "size", title: "Size", width: "7rem", numeric: true, write: (entry) => writeBytes(entry.size) },
      { key: "modified_at", title: "Changed", width: "11rem", kind: "time" },
      { key: "type", title: "Kind", width: "minmax(8rem, 1fr)", value: describeKind },
    ],
    sort: "name",
    fields: [{ name: "name", label: "Names", placeholder: "Name", getText: (entry) => entry.name }],
    kinds: [],
    load: async ({ signal }) => {
      const { entries, truncated } = await get("api/files/browse", { mount, path }, { signal });
      const more = `There are more than ${entries.length.toLocaleString("en")} names here: only these are listed`;
      return { rows: entries.map((entry) => [entry.name, entry]), change: null, warnings: truncated ? [more] : [] };
    },
    whenHeard: () => file && !pane && openFile(file),
    summarize: () => ({ words: ["hidden files are never shown"] }),
    none: () => ["This folder is empty. Names that begin with a dot are not shown."],
    buttons: [makeButton("Read again", () => view.reload()), sync.button],
    above: sync.node,
  });
  show(outlet, view.nodes, shown);

  function fillName(cell, entry) {
    fillLink(cell, null, `${entry.name}${isFolder(entry) ? "/" : ""}`);
    if (entry.accessible === false) return;
    const query = isFolder(entry) ? { path: joinPath(path, entry.name) } : { path, file: entry.name };
    cell.firstElementChild.setAttribute("href", makeLink(["files", mount], query));
  }

  // A file is opened beside its folder, which keeps its place.
  view.table.node.addEventListener("click", (event) => {
    const name = event.target.closest("a[href]") && event.target.closest(".tr").dataset.key;
    if (!name || isFolder(view.list.rows.get(name)) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    openFile(name);
  });

  function openFile(name) {
    pane?.close();
    file = name;
    changeQuery({ file });
    pane = makeFilePane(mount, joinPath(path, name), view.list.rows.get(name), closeFile);
    show(shown, pane.node);
    pane.node.scrollIntoView({ block: "nearest" });
  }

  function closeFile() {
    pane.close();
    [file, pane] = [null, null];
    show(shown);
    changeQuery({ file: "" });
    view.table.scroller.focus();
  }

  return () => {
    view.close();
    pane?.close();
    sync.close();
  };
}

function describeKind(entry) {
  if (entry.type !== "symlink") return KINDS[entry.type];
  return entry.accessible ? `link to a ${KINDS[entry.target_kind]}` : "link out of the mount: not followed";
}

function makeBreadcrumb(mount, path) {
  const names = path.split("/").filter(Boolean);
  const folders = names.map((name, at) => [name, makeLink(["files", mount], { path: names.slice(0, at + 1).join("/") })]);
  const steps = [["Files", makeLink(["files"])], [mount, makeLink(["files", mount])], ...folders];
  const [last] = steps.pop();
  return h("h1", null, steps.map(([name, href]) => [h("a", { href }, name), " / "]), h("span", { "aria-current": "page" }, last));
}
