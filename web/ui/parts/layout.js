// Where the nodes of a graph stand: pure, so that a worker and a test can run it. Layers go from left to right.
//
// Longest-path layers, order within a layer by barycentre sweeps, heights by least squares that keep the order.

export const NODE = { width: 168, height: 38, gap: 10, layerGap: 40 };

const SWEEPS = 6;
const MOST_BENDS = 20_000; // edges over several layers bend around nodes; with more of them they are straight
const ALIKE = 20; // so many equal siblings stand each by itself

// Make the graph that is shown of jobs: [{ name, depends_on }]. Equal siblings become one node unless it is open.
//
// Returns { nodes: [{ id, members (null for a job), isOpen }], edges: [[from, to]] }; `group:NAME` is the id of a group.
export function foldJobs(jobs, open = new Set()) {
  const known = new Set(jobs.map((job) => job.name));
  const listNeeds = (job) => [...new Set((job.depends_on ?? []).map(readNeed).filter((name) => known.has(name)))];
  const needs = new Map(jobs.map((job) => [job.name, listNeeds(job)]));
  const groups = findGroups(jobs, needs);
  const shownAs = new Map();
  const nodes = [];
  for (const { name } of jobs) {
    const group = groups.get(name);
    if (!group) {
      nodes.push({ id: name, members: null });
      continue;
    }
    const isOpen = open.has(group.id);
    if (group.members[0] === name) nodes.push({ id: group.id, members: group.members, isOpen });
    if (isOpen) nodes.push({ id: name, members: null });
    else shownAs.set(name, group.id);
  }
  const edges = new Map();
  for (const [name, froms] of needs) {
    for (const from of froms) {
      const edge = [shownAs.get(from) ?? from, shownAs.get(name) ?? name];
      edges.set(edge.join("\n"), edge);
    }
  }
  for (const [id, edge] of listHandleEdges(nodes, needs, shownAs)) edges.set(id, edge);
  return { nodes, edges: [...edges.values()] };
}

// The node by which an open group is closed stands where the group stood.
function* listHandleEdges(nodes, needs, shownAs) {
  for (const { id, members, isOpen } of nodes) {
    if (!members || !isOpen) continue;
    for (const from of needs.get(members[0])) yield [`${from}\n${id}`, [shownAs.get(from) ?? from, id]];
  }
}

// Return the name in a dependency such as "afterany:train".
export const readNeed = (text) => text.slice(text.lastIndexOf(":") + 1);

function findGroups(jobs, needs) {
  const followers = new Map(jobs.map((job) => [job.name, []]));
  for (const [name, froms] of needs) for (const from of froms) followers.get(from).push(name);
  const alike = new Map();
  for (const { name } of jobs) {
    const key = JSON.stringify([[...needs.get(name)].sort(), [...followers.get(name)].sort()]);
    alike.set(key, [...(alike.get(key) ?? []), name]);
  }
  const groups = new Map();
  for (const members of alike.values()) {
    if (members.length <= ALIKE) continue;
    const group = { id: `group:${members[0]}`, members };
    for (const name of members) groups.set(name, group);
  }
  return groups;
}

// Place nodes (ids) and edges ([from, to] by id); edges that would close a circle do not count for the layers.
//
// Returns { places: Map id → { x, y, layer, row }, lines: [{ from, to, text (a path), left, right, top, bottom }], width, height }.
export function placeNodes(ids, edges) {
  const graph = readGraph(ids, edges);
  setLayers(graph);
  const chains = bendEdges(graph);
  const layers = listLayers(graph);
  orderLayers(graph, layers);
  const heights = levelLayers(graph, layers);
  return describePlaces(graph, layers, heights, chains);
}

function readGraph(ids, edges) {
  const index = new Map(ids.map((id, at) => [id, at]));
  const count = ids.length;
  const [ins, outs] = [ids.map(() => []), ids.map(() => [])];
  const graph = { ids, count, layer: new Array(count).fill(0), ins, outs, edges: [] };
  for (const [from, to] of edges) {
    const [one, other] = [index.get(from), index.get(to)];
    if (one === undefined || other === undefined || one === other) continue;
    graph.edges.push([one, other]);
    graph.outs[one].push(other);
    graph.ins[other].push(one);
  }
  return graph;
}

function setLayers({ count, layer, ins, outs }) {
  const left = ins.map((froms) => froms.length);
  const ready = [];
  const placed = new Uint8Array(count);
  for (let at = 0; at < count; at++) if (left[at] === 0) ready.push(at);
  let spare = 0;
  for (let next = 0; next < count; next++) {
    if (next === ready.length) {
      while (placed[spare] || left[spare] <= 0) spare++; // a circle: begin with any of it
      left[spare] = 0;
      ready.push(spare);
    }
    const at = ready[next];
    placed[at] = 1;
    for (const to of outs[at]) {
      if (placed[to]) continue;
      layer[to] = Math.max(layer[to], layer[at] + 1);
      if (--left[to] === 0) ready.push(to);
    }
  }
  // What needs nothing stands just before what needs it.
  for (let at = 0; at < count; at++) {
    if (ins[at].length > 0 || outs[at].length === 0) continue;
    layer[at] = Math.max(0, Math.min(...outs[at].map((to) => layer[to])) - 1);
  }
}

// Give edges over several layers a place in each of them. Returns the chain of places of each edge.
function bendEdges(graph) {
  const spans = graph.edges.map(([from, to]) => graph.layer[to] - graph.layer[from] - 1);
  const isBent = spans.reduce((sum, span) => sum + Math.max(0, span), 0) <= MOST_BENDS;
  graph.links = { ins: graph.ids.map(() => []), outs: graph.ids.map(() => []) };
  const addLink = (from, to) => {
    graph.links.outs[from].push(to);
    graph.links.ins[to].push(from);
  };
  return graph.edges.map(([from, to], number) => {
    const chain = [from];
    for (let step = 1; isBent && step <= spans[number]; step++) {
      graph.links.ins.push([]);
      graph.links.outs.push([]);
      graph.layer.push(graph.layer[from] + step);
      chain.push(graph.layer.length - 1);
      addLink(chain.at(-2), chain.at(-1));
    }
    addLink(chain.at(-1), to);
    return [...chain, to];
  });
}

function listLayers({ layer }) {
  const layers = [];
  for (const [at, number] of layer.entries()) (layers[number] ??= []).push(at);
  return Array.from(layers, (places) => places ?? []);
}

function orderLayers({ links, layer }, layers) {
  const row = new Float64Array(layer.length);
  const number = (places) => places.forEach((at, rank) => (row[at] = rank));
  layers.forEach(number);
  const sort = (places, near) => {
    const wish = new Map(places.map((at) => [at, average(near[at], row) ?? row[at]]));
    places.sort((one, other) => wish.get(one) - wish.get(other) || row[one] - row[other]);
    number(places);
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    if (sweep % 2 === 0) for (const places of layers) sort(places, links.ins);
    else for (const places of [...layers].reverse()) sort(places, links.outs);
  }
}

function average(neighbours, values) {
  if (neighbours.length === 0) return null;
  let sum = 0;
  for (const at of neighbours) sum += values[at];
  return sum / neighbours.length;
}

// Give each place a height, near those it is joined to, in the order of its layer.
function levelLayers({ links, layer, count }, layers) {
  const heights = new Float64Array(layer.length);
  const room = (at) => (at < count ? NODE.height : 4) + NODE.gap;
  for (const places of layers) {
    let top = 0;
    for (const at of places) {
      heights[at] = top;
      top += room(at);
    }
    for (const at of places) heights[at] -= top / 2;
  }
  const level = (places, near) => {
    const wishes = places.map((at) => average(near[at], heights) ?? heights[at]);
    const offsets = [];
    let offset = 0;
    places.forEach((at, rank) => {
      if (rank > 0) offset += (room(places[rank - 1]) + room(at)) / 2;
      offsets.push(offset);
    });
    const settled = settle(wishes.map((wish, rank) => wish - offsets[rank]));
    places.forEach((at, rank) => (heights[at] = settled[rank] + offsets[rank]));
  };
  for (let round = 0; round < 4; round++) {
    for (const places of layers) level(places, links.ins);
    for (const places of [...layers].reverse()) level(places, links.outs);
  }
  return heights;
}

// Return the rising values that are nearest to these (pool adjacent violators).
function settle(wishes) {
  const blocks = [];
  for (const wish of wishes) {
    let block = { sum: wish, count: 1 };
    while (blocks.length > 0 && blocks.at(-1).sum / blocks.at(-1).count >= block.sum / block.count) {
      const last = blocks.pop();
      block = { sum: last.sum + block.sum, count: last.count + block.count };
    }
    blocks.push(block);
  }
  return blocks.flatMap(({ sum, count }) => new Array(count).fill(sum / count));
}

function describePlaces({ ids, count, layer }, layers, heights, chains) {
  let [low, high] = [Infinity, -Infinity];
  for (const height of heights) [low, high] = [Math.min(low, height), Math.max(high, height)];
  if (count === 0) [low, high] = [0, 0];
  const left = (at) => layer[at] * (NODE.width + NODE.layerGap);
  const middle = (at) => heights[at] - low + NODE.height / 2;
  const places = new Map();
  for (const row of layers) {
    const set = (at, rank) => places.set(ids[at], { x: left(at), y: heights[at] - low, layer: layer[at], row: rank });
    row.filter((at) => at < count).forEach(set);
  }
  const listPoints = (chain) => chain.flatMap((at, step) => drawBend(left(at), middle(at), step, chain.length));
  const lines = chains.map((chain) => ({ from: ids[chain[0]], to: ids[chain.at(-1)], ...writeLine(listPoints(chain)) }));
  const width = Math.max(0, layers.length * (NODE.width + NODE.layerGap) - NODE.layerGap);
  return { places, lines, width, height: high - low + NODE.height };
}

// A line leaves a node at its right and comes to the next at its left; between nodes it passes through a layer level.
function drawBend(x, y, step, length) {
  if (step === 0) return [[x + NODE.width, y]];
  if (step === length - 1) return [[x, y]];
  return [[x, y], [x + NODE.width, y]];
}

function writeLine(points) {
  const text = points.map(([x, y], at) => (at === 0 ? `M${round(x)} ${round(y)}` : writeStep(points[at - 1], [x, y]))).join("");
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  return { text, left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys) };
}

function writeStep([fromX, fromY], [x, y]) {
  if (Math.abs(fromY - y) < 0.5) return `L${round(x)} ${round(y)}`;
  const middle = (fromX + x) / 2;
  return `C${round(middle)} ${round(fromY)} ${round(middle)} ${round(y)} ${round(x)} ${round(y)}`;
}

const round = (number) => Math.round(number * 10) / 10;
