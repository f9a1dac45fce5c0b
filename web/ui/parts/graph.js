// The graph of jobs: of a run with its live states, or of a workflow without any. Work goes from left to right.
//
// A change of state alters only colour and mark. Where one looks stays; only what is in sight is drawn.

import { h, keepInStep, oncePerFrame, setAttribute, setAttributes, setText, svg } from "../core/dom.js";
import { FAMILIES, findFamily, writeState } from "../core/states.js";
import { writeCount } from "../core/format.js";
import { cutText, makeTools, whenPrinted, whenResized } from "./canvas.js";
import { NODE, foldJobs, placeNodes } from "./layout.js";

const INLINE_NODES = 150; // so many are placed at once; more of them by a worker
const TEXT_SCALE = 0.5; // below it there are only names, in larger letters
const NAME_SCALE = 0.22; // below it names cannot be read, and state is told by the fill alone
const LARGER = 1.55; // so much larger are these letters
const [MIN_SCALE, MAX_SCALE] = [0.01, 3];
const ZOOM = 1.4;
const EDGE_PX = 12;
const TOOLS_PX = 28;
const LOUDEST = ["failed", "running", "waiting", "unknown", "cancelled", "done"]; // what a group looks like

// Make a graph.
//
//   label         what it shows, for those who hear the page
//   whenSelected  (name) hears which job was chosen; null where it was none of them
//
// Returns { node, setJobs, select, fit, close }. setJobs takes [{ name, depends_on, status, note, family }]: without a
// status a job is plain, `note` is the second line of such a job, `family` is the look where no state tells it.
export function makeGraph({ label, whenSelected = () => {} }) {
  const graph = {
    jobs: new Map(),
    shape: null, // what the layout depends on, as a text
    open: new Set(),
    nodes: new Map(), // id → { id, members, isOpen, x, y, layer, row }
    edges: [],
    size: { width: 0, height: 0 },
    view: { scale: 1, x: 0, y: 0, isFitted: true },
    pane: { width: 0, height: 0 },
    selected: null,
    focused: null, // where the keys are; of all nodes only one is reached by Tab
    focusable: null,
    asked: 0,
    shapedFor: 0, // the width for which it has its height
  };
  const lines = svg("path", { class: "edges" });
  const near = svg("path", { class: "edges near" });
  const list = svg("g", { class: "nodes" });
  const world = svg("g", null, lines, near, list);
  const pattern = { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  const hatch = svg("pattern", pattern, svg("rect", { width: 2, height: 6 }));
  const spoken = `${label}; arrow keys go from job to job`;
  const canvas = svg("svg", { class: "canvas", role: "group", "aria-label": spoken }, svg("defs", null, hatch), world);
  const tools = makeTools("Look at the graph", [
    ["−", "Smaller", () => zoomBy(1 / ZOOM)],
    ["+", "Larger", () => zoomBy(ZOOM)],
    ["Fit", "Fit all of it", fit],
    ["1:1", "As large as text", () => zoomTo(1)],
    ["To the selected", "Go to the selected job", () => reveal(findShown(graph.selected), true)],
  ]);
  const node = h("div", { class: "graph" }, canvas, tools);
  const drawSoon = oncePerFrame(draw);
  const setHeightSoon = oncePerFrame(setHeight);

  // --- what is shown -------------------------------------------------------------------------------------------------

  function setJobs(jobs) {
    graph.jobs = new Map(jobs.map((job) => [job.name, job]));
    const shape = JSON.stringify(jobs.map((job) => [job.name, job.depends_on]));
    if (shape === graph.shape) return draw();
    graph.shape = shape;
    return arrange(null);
  }

  // Place everything anew. The node `anchor` stays where it is on the screen.
  async function arrange(anchor) {
    const before = graph.nodes.get(anchor) ?? null;
    const folded = foldJobs([...graph.jobs.values()], graph.open);
    const asked = ++graph.asked;
    const found = await place(folded.nodes.map(({ id }) => id), folded.edges);
    if (asked !== graph.asked) return;
    graph.nodes = new Map(folded.nodes.map((each) => [each.id, { ...each, ...found.places.get(each.id) }]));
    graph.edges = found.lines;
    graph.size = { width: found.width, height: found.height };
    setHeight();
    node.dataset.nodes = graph.nodes.size;
    const after = graph.nodes.get(anchor);
    if (before && after) {
      graph.view.x += (before.x - after.x) * graph.view.scale;
      graph.view.y += (before.y - after.y) * graph.view.scale;
      graph.view.isFitted = false;
    } else if (graph.view.isFitted) fit();
    draw();
  }

  function place(ids, edges) {
    if (ids.length <= INLINE_NODES) return placeNodes(ids, edges);
    graph.worker ??= new Worker(new URL("../workers/layout.js", import.meta.url), { type: "module" });
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = ({ data }) => resolve(data);
      graph.worker.postMessage({ ids, edges }, [port2]);
    });
  }

  // --- where one looks -----------------------------------------------------------------------------------------------

  // As high as the graph is at the width that there is.
  function setHeight() {
    const { size, pane } = graph;
    graph.shapedFor = pane.width;
    const scale = Math.min(1, (pane.width - 2 * EDGE_PX) / size.width || 1);
    canvas.style.setProperty("--height", `${Math.ceil(Math.max(0, size.height * scale) + EDGE_PX + TOOLS_PX)}px`);
  }

  function fit() {
    const { width, height } = graph.size;
    const room = { width: graph.pane.width - 2 * EDGE_PX, height: graph.pane.height - EDGE_PX - TOOLS_PX };
    if (room.width <= 0 || room.height <= 0 || width === 0) return;
    const scale = Math.max(MIN_SCALE, Math.min(1, room.width / width, room.height / height));
    const [x, y] = [(room.width - width * scale) / 2, (room.height - height * scale) / 2];
    graph.view = { scale, x: EDGE_PX + x, y: EDGE_PX + y, isFitted: true };
    draw();
  }

  function zoomAt(x, y, scale) {
    const { view } = graph;
    const next = Math.min(MAX_SCALE, Math.max(MIN_SCALE, scale));
    const factor = next / view.scale;
    graph.view = { scale: next, x: x - (x - view.x) * factor, y: y - (y - view.y) * factor, isFitted: false };
    drawSoon();
  }

  function zoomTo(scale) {
    const shown = graph.nodes.get(findShown(graph.selected));
    const { view, pane } = graph;
    if (!shown) return zoomAt(pane.width / 2, pane.height / 2, scale);
    const [x, y] = [shown.x + NODE.width / 2, shown.y + NODE.height / 2];
    return zoomAt(view.x + x * view.scale, view.y + y * view.scale, scale);
  }

  const zoomBy = (factor) => zoomTo(graph.view.scale * factor);

  function pan(x, y) {
    graph.view = { ...graph.view, x: graph.view.x + x, y: graph.view.y + y, isFitted: false };
    drawSoon();
  }

  // Bring a node into sight, with no more movement than that needs.
  function reveal(id, isCentred = false) {
    const shown = graph.nodes.get(id);
    if (!shown) return;
    if (isCentred && graph.view.scale < 0.8) zoomAt(0, 0, 1);
    const { view, pane } = graph;
    const [left, top] = [view.x + shown.x * view.scale, view.y + shown.y * view.scale];
    const [width, height] = [NODE.width * view.scale, NODE.height * view.scale];
    const isInSight = left >= 0 && top >= 0 && left + width <= pane.width && top + height <= pane.height;
    if (isInSight && !isCentred) return;
    const [x, y] = [view.x + (pane.width - width) / 2 - left, view.y + (pane.height - height) / 2 - top];
    graph.view = { ...view, x, y, isFitted: false };
    draw();
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  function draw() {
    const { view, pane } = graph;
    setAttribute(world, "transform", `translate(${view.x.toFixed(2)} ${view.y.toFixed(2)}) scale(${view.scale.toFixed(4)})`);
    canvas.classList.toggle("small", view.scale < TEXT_SCALE);
    canvas.classList.toggle("tiny", view.scale < NAME_SCALE);
    const [left, top] = [-view.x / view.scale, -view.y / view.scale];
    const [right, bottom] = [left + pane.width / view.scale, top + pane.height / view.scale];
    const isInSight = (each) => each.left <= right && each.right >= left && each.top <= bottom && each.bottom >= top;
    const edges = graph.edges.filter(isInSight);
    const shownAs = findShown(graph.selected);
    setAttribute(lines, "d", edges.map((edge) => edge.text).join(""));
    setAttribute(near, "d", edges.filter(({ from, to }) => from === shownAs || to === shownAs).map((edge) => edge.text).join(""));
    const held = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const findEnds = ({ x, y }) => ({ left: x, top: y, right: x + NODE.width, bottom: y + NODE.height });
    const visible = [...graph.nodes.values()].filter((each) => each.id === held || isInSight(findEnds(each)));
    graph.focusable = findFocusable();
    keepInStep(list, visible, (each) => each.id, makeNode, updateNode);
    tools.lastChild.disabled = !shownAs;
  }

  function makeNode(each) {
    const rect = svg("rect", { width: NODE.width, height: NODE.height, rx: 3 });
    return updateNode(svg("g", { role: "button" }, rect, svg("title")), each);
  }

  // What is too small to be read is not written.
  function writeTexts(made, look) {
    if (graph.view.scale < NAME_SCALE) return;
    if (made.children.length === 2) made.append(...["mark", "name", "word"].map((name) => svg("text", { class: name, x: 9 })));
    const isSmall = graph.view.scale < TEXT_SCALE;
    const [, , mark, name, word] = made.children;
    const x = look.mark === "" ? 9 : isSmall ? 36 : 26;
    const y = isSmall ? 26 : look.word === "" ? 23 : 16;
    const room = NODE.width - x - 6;
    setAttributes(mark, { y });
    setText(mark, look.mark);
    setAttributes(name, { x, y });
    setText(name, cutText(look.name, isSmall ? room / LARGER : room));
    setAttributes(word, { x, y: 31 });
    setText(word, cutText(look.word, room));
  }

  function updateNode(made, each) {
    const look = describe(each);
    const kinds = ["node", look.family ?? "plain", each.members && "group", look.isSelected && "selected"];
    setAttributes(made, {
      transform: `translate(${each.x} ${each.y})`,
      class: kinds.filter(Boolean).join(" "),
      "aria-label": look.spoken,
      "aria-pressed": each.members ? null : look.isSelected,
      "aria-expanded": each.members ? each.isOpen : null,
      tabindex: each.id === graph.focusable ? 0 : -1,
    });
    setText(made.children[1], look.spoken);
    writeTexts(made, { ...look, mark: FAMILIES[look.family]?.mark ?? "" });
    return made;
  }

  const findLook = (job) => job?.family ?? (job?.status ? findFamily(job.status) : null);

  function describe({ id, members, isOpen }) {
    if (members) return describeGroup(members, isOpen);
    const job = graph.jobs.get(id);
    const word = job?.status ? writeState(job.status) : (job?.note ?? "");
    const needs = job?.depends_on?.length && `needs ${job.depends_on.join(", ")}`;
    const spoken = [id, word, needs].filter(Boolean).join(", ");
    return { family: findLook(job), name: id, word, isSelected: graph.selected === id, spoken };
  }

  function describeGroup(members, isOpen) {
    const families = members.map((name) => findLook(graph.jobs.get(name)));
    const count = (family) => families.filter((each) => each === family).length;
    const counts = LOUDEST.map((family) => [family, count(family)]).filter(([, size]) => size > 0);
    const size = writeCount(members.length, "job");
    const words = counts.map(([family, number]) => `${number} ${FAMILIES[family].word}`);
    return {
      family: counts[0]?.[0] ?? null,
      name: `${isOpen ? "▾" : "▸"} ${size}: ${findCommonStart(members)}…`,
      word: counts.map(([family, number]) => `${FAMILIES[family].mark} ${number}`).join("  "),
      isSelected: !isOpen && members.includes(graph.selected),
      spoken: [size, `${members[0]} to ${members.at(-1)}`, ...words].join(", "),
    };
  }

  // --- what the reader does ------------------------------------------------------------------------------------------

  // The node that shows a job: its own, or the group that it is folded into.
  function findShown(name) {
    if (name === null || graph.nodes.has(name)) return name;
    for (const { id, members } of graph.nodes.values()) if (members?.includes(name)) return id;
    return null;
  }

  function findFocusable() {
    if (graph.nodes.has(graph.focused)) return graph.focused;
    return findShown(graph.selected) ?? graph.nodes.keys().next().value ?? null;
  }

  function select(name) {
    if (graph.selected === name) return;
    graph.selected = name;
    graph.focused = findShown(name);
    draw();
  }

  function act(id) {
    const each = graph.nodes.get(id);
    if (!each) return;
    graph.focused = id;
    if (each.members) {
      if (!graph.open.delete(id)) graph.open.add(id);
      arrange(id);
      return;
    }
    select(id);
    whenSelected(id);
  }

  function moveFocus(key) {
    const from = graph.nodes.get(graph.focused ?? findFocusable());
    const next = from && findNeighbour(graph, from, key);
    if (!next) return;
    graph.focused = next.id;
    reveal(next.id);
    draw();
    list.querySelector(`[data-key="${CSS.escape(next.id)}"]`)?.focus();
  }

  const actOn = (event) => act(event.target.closest("[data-key]")?.dataset.key);
  const KEYS = { Enter: actOn, " ": actOn, "+": () => zoomBy(ZOOM), "-": () => zoomBy(1 / ZOOM), 0: fit };
  for (const side of ["Left", "Right", "Up", "Down"]) KEYS[`Arrow${side}`] = ({ key }) => moveFocus(key);

  function hearKey(event) {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    KEYS[event.key](event);
    event.preventDefault();
  }

  // The wheel scrolls the page, unless Ctrl is held or the graph has the focus.
  function hearWheel(event) {
    if (!event.ctrlKey && !canvas.contains(document.activeElement)) return;
    event.preventDefault();
    const { left, top } = canvas.getBoundingClientRect();
    zoomAt(event.clientX - left, event.clientY - top, graph.view.scale * Math.exp(-event.deltaY / 400));
  }

  function hearDrag(event) {
    if (event.button !== 0) return;
    let [x, y, isMoved] = [event.clientX, event.clientY, false];
    const moving = new AbortController();
    const { signal } = moving;
    addEventListener("pointermove", (moved) => {
      if (!isMoved && Math.hypot(moved.clientX - x, moved.clientY - y) < 4) return;
      isMoved = true;
      pan(moved.clientX - x, moved.clientY - y);
      [x, y] = [moved.clientX, moved.clientY];
    }, { signal });
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, () => moving.abort(), { signal });
    canvas.addEventListener("click", (clicked) => isMoved && clicked.stopPropagation(), { once: true, capture: true });
  }

  // On paper all of it is seen.
  function print(isPrinted) {
    setAttribute(canvas, "viewBox", isPrinted ? `0 0 ${graph.pane.width} ${graph.pane.height}` : null);
    if (isPrinted) {
      graph.kept = graph.view;
      fit();
    } else {
      graph.view = graph.kept;
      draw();
    }
  }

  list.addEventListener("click", actOn);
  list.addEventListener("focusin", (event) => (graph.focused = event.target.closest("[data-key]")?.dataset.key ?? graph.focused));
  canvas.addEventListener("keydown", hearKey);
  canvas.addEventListener("wheel", hearWheel, { passive: false });
  canvas.addEventListener("pointerdown", hearDrag);
  const endings = [
    whenPrinted(print),
    whenResized(canvas, ({ width, height }) => {
      graph.pane = { width, height };
      // A scroll bar that comes and goes alters nothing: so it cannot do so for ever.
      if (Math.abs(width - graph.shapedFor) > 20) setHeightSoon();
      if (graph.view.isFitted) fit();
      else draw();
    }),
  ];

  return {
    node,
    setJobs,
    select,
    fit,
    close: () => {
      graph.asked = null; // what is placed now is not waited for
      for (const end of endings) end();
      graph.worker?.terminate();
    },
  };
}

// Find the node to which an arrow key leads: along an edge to the sides, within the layer up and down.
function findNeighbour({ nodes, edges }, from, key) {
  if (key === "ArrowLeft" || key === "ArrowRight") {
    const [here, there] = key === "ArrowRight" ? ["from", "to"] : ["to", "from"];
    const reached = edges.filter((edge) => edge[here] === from.id).map((edge) => nodes.get(edge[there]));
    return reached.sort((one, other) => Math.abs(one.y - from.y) - Math.abs(other.y - from.y))[0];
  }
  const step = key === "ArrowDown" ? 1 : -1;
  return [...nodes.values()].find((each) => each.layer === from.layer && each.row === from.row + step);
}

function findCommonStart(names) {
  let start = names[0];
  for (const name of names) while (!name.startsWith(start)) start = start.slice(0, -1);
  return start;
}
