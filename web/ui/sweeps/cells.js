// What a sweep's page knows of its cells: axes, metrics, the best one, what is missing. Pure.

import { findFamily } from "../core/states.js";
import { writeCount } from "../core/format.js";
import { makeValueKey, readNumber, writeNumber, writeValue } from "./scales.js";

const MOST_COLUMNS = 120;
export const DURATION = "duration_seconds";
const PARTS = "loss|error|perplexity|entropy|duration|seconds|latency|cost|regret|distance";
const WORDS = "err|r?mse|mae|nll|ppl|time|wer|cer|fid";
const SMALL_IS_GOOD = new RegExp(`${PARTS}|(^|[^a-z])(${WORDS})([^a-z]|$)`, "i");

// Make what is drawn of a cell from its row.
export function makeCell(row, at) {
  return { key: row.id, number: at, row, family: findFamily(row.status) };
}

// Return a value of a cell by name: an arg, a result, or its duration.
export function getValue(cell, name) {
  const { args, result } = cell.row;
  if (name === DURATION) return cell.row.duration_seconds;
  return Object.hasOwn(args, name) ? args[name] : result[name];
}

// Return the number under a name, where it is finite; else null.
export function getNumber(cell, name) {
  const number = readNumber(name === DURATION ? cell.row.duration_seconds : cell.row.result[name]);
  return Number.isFinite(number) ? number : null;
}

// List the axes of a matrix: { name, values, varies }, those that vary first.
export function listAxes(matrix) {
  const axes = Object.entries(matrix).map(([name, values]) => ({ name, values, varies: values.length > 1 }));
  return [...axes.filter((axis) => axis.varies), ...axes.filter((axis) => !axis.varies)];
}

// List the names of all results, in the order in which they came.
const listResults = (cells) => [...new Set(cells.flatMap(({ row }) => Object.keys(row.result)))];

// List what cells can be compared by: results that are numbers, and how long the cells took.
export function listMetrics(cells) {
  const names = listResults(cells).filter((name) => cells.some((cell) => typeof readNumber(cell.row.result[name]) === "number"));
  return [...names, DURATION];
}

// Choose the metric that is shown at first: the first that differs between cells.
export function chooseMetric(cells, metrics) {
  const differs = (name) => new Set(cells.map((cell) => getNumber(cell, name)).filter((number) => number !== null)).size > 1;
  return metrics.find((name) => name !== DURATION && differs(name)) ?? metrics[0];
}

// Guess by its name, without that of its job, whether the lowest value of a metric is the best: "min" or "max".
export const guessGoal = (metric) => (SMALL_IS_GOOD.test(metric.replace(/^[^.]*\./, "")) ? "min" : "max");

// Find the best cell by a metric; null where no cell has a finite value.
export function findBest(cells, metric, goal) {
  let best = null;
  for (const cell of cells) {
    const value = getNumber(cell, metric);
    if (value === null) continue;
    if (best === null || (goal === "min" ? value < best.value : value > best.value)) best = { cell, value };
  }
  return best?.cell ?? null;
}

const LACKS = { done: "without a value", unknown: "without a value" };

// Say why a cell has no place in a plot of a metric: "failed", "NaN", …; null where it has one.
export function findLack(cell, metric) {
  if (getNumber(cell, metric) !== null) return null;
  const number = metric === DURATION ? null : readNumber(cell.row.result[metric]);
  return number === null ? (LACKS[cell.family] ?? cell.family) : writeNumber(number);
}

// Say in a sentence which cells a plot of a metric does not show; "" where it shows all.
export function describeLack(cells, metric) {
  const lacks = cells.map((cell) => findLack(cell, metric)).filter(Boolean);
  if (lacks.length === 0) return "";
  const counts = [...Map.groupBy(lacks, (lack) => lack)].sort(([, one], [, other]) => other.length - one.length);
  return `${writeCount(lacks.length, "cell")} not shown: ${counts.map(([lack, { length }]) => `${length.toLocaleString("en")} ${lack}`).join(", ")}`;
}

// Name a cell by the values of the axes that vary.
export function nameCell(cell, axes) {
  const named = axes.filter((axis) => axis.varies).map(({ name }) => `${name} = ${writeValue(cell.row.args[name])}`);
  return named.length > 0 ? named.join(", ") : `cell ${cell.number}`;
}

// Say in a sentence what is known of a cell.
export function describeCell(cell, { axes, metric, best }) {
  const number = getNumber(cell, metric);
  const value = number !== null && `${metric} = ${writeNumber(number)}`;
  return [`${nameCell(cell, axes)}: ${cell.row.status}`, value, best === cell && "the best"].filter(Boolean).join(", ");
}

// List the args and results, and say of each whether it differs between cells.
export function listColumns(cells, axes) {
  const args = [...new Set([...axes.map(({ name }) => name), ...cells.flatMap((cell) => Object.keys(cell.row.args))])];
  const results = listResults(cells);
  const make = (kind, field, among) => (name) => {
    const own = among(name);
    const first = own.length > 0 && makeValueKey(own[0].row[field][name]);
    return { name, kind, differs: own.length === 1 || own.some((cell) => makeValueKey(cell.row[field][name]) !== first) };
  };
  const withResult = (name) => cells.filter(({ row }) => name in row.result);
  return [...args.map(make("arg", "args", () => cells)), ...results.map(make("result", "result", withResult))];
}

// Write the difference of a number to that of the baseline: "+0.25".
export function writeDifference(value, base) {
  if (value === null || base === null) return "";
  const difference = Number((value - base).toPrecision(12));
  return difference === 0 ? "±0" : `${difference > 0 ? "+" : ""}${writeValue(difference)}`;
}

// Return whether a cell is within all limits: { name: [from, to] }, in positions of the scales.
export function isWithin(cell, limits, scales) {
  return Object.entries(limits).every(([name, [from, to]]) => {
    const position = scales.get(name)?.toPosition(getValue(cell, name));
    if (position === null || position === undefined) return false;
    const slack = Math.abs(to - from) * 1e-9 + Math.abs(position) * 1e-12;
    return position >= from - slack && position <= to + slack;
  });
}

// Return whether a cell passes the filter by state: a family, "open", or "missing" a value of the metric.
export function hasState({ family, ...cell }, filter, metric) {
  if (filter === "open") return family === "waiting" || family === "running";
  if (filter === "missing") return findLack({ family, ...cell }, metric) !== null;
  return !filter || family === filter;
}

// Remember what was made last, for as long as the same is given.
export function keepLast(make) {
  let [last, made] = [[], null];
  return (...given) => {
    if (made === null || given.some((each, at) => each !== last[at])) [last, made] = [given, make(...given)];
    return made;
  };
}

// Lay cells out in rows and columns: one axis across, all others that vary down, the chosen one last.
//
// A matrix of one axis, or whose axis across is long, goes on in the next line. Returns { across, down (names), columns,
// rows (labels), width, places: [{ column, row, numbers of its cells }], byPlace ("column,row" → place), placeOf (key → place) }.
export function layOut(cells, axes, across, down) {
  const varying = axes.filter((axis) => axis.varies);
  const laid = varying.length < 2 ? layOutLines(cells, varying[0] ?? axes[0]) : layOutAxes(cells, chooseAxes(varying, across, down));
  const byPlace = new Map();
  const placeOf = new Map();
  cells.forEach((cell, at) => {
    const [column, row] = laid.locate(cell, at);
    const place = byPlace.get(`${column},${row}`) ?? { column, row, numbers: [] };
    if (place.numbers.push(at) === 1) byPlace.set(`${column},${row}`, place);
    placeOf.set(cell.key, place);
  });
  return { ...laid, places: [...byPlace.values()], byPlace, placeOf };
}

// Choose which of the axes that vary goes across, and in which order the others go down: those that are asked for, or
// the longest, or the last.
export function chooseAxes(varying, across, down) {
  const find = (name) => varying.find((axis) => axis.name === name);
  const columns = find(across) ?? varying.reduce((one, other) => (other.values.length > one.values.length ? other : one));
  const rest = varying.filter((axis) => axis !== columns);
  const last = rest.find(({ name }) => name === down) ?? rest.at(-1);
  return [columns, ...rest.filter((axis) => axis !== last), last];
}

function layOutAxes(cells, [columns, ...rows]) {
  const places = new Map([columns, ...rows].map(({ name, values }) => [name, new Map(values.map((value, at) => [makeValueKey(value), at]))]));
  const findAt = (cell, { name }) => places.get(name).get(makeValueKey(cell.row.args[name])) ?? 0;
  const findRow = (cell) => rows.reduce((sum, axis) => sum * axis.values.length + findAt(cell, axis), 0);
  const found = cells.map(findRow); // among all combinations, of which some may have no cells
  const used = new Map(found.map((row, at) => [row, cells[at]]));
  const order = [...used.keys()].sort((one, other) => one - other);
  const rowOf = new Map(order.map((row, at) => [row, at]));
  return {
    across: columns.name,
    down: rows.map(({ name }) => name),
    columns: columns.values.map(writeValue),
    rows: order.map((row) => rows.map(({ name }) => writeValue(used.get(row).row.args[name])).join(" · ")),
    width: columns.values.length,
    locate: (cell, at) => [findAt(cell, columns), rowOf.get(found[at])],
  };
}

function layOutLines(cells, axis) {
  const width = cells.length <= MOST_COLUMNS ? cells.length : Math.ceil(Math.sqrt(cells.length * 2));
  const label = (cell) => (axis ? writeValue(cell.row.args[axis.name]) : String(cell.number));
  const isOneLine = width === cells.length;
  return {
    across: axis?.name ?? "cell",
    down: [],
    columns: isOneLine ? cells.map(label) : [],
    rows: isOneLine ? [""] : cells.filter((_, at) => at % width === 0).map((cell) => `${label(cell)} …`),
    width,
    locate: (_, at) => [at % width, Math.floor(at / width)],
  };
}
