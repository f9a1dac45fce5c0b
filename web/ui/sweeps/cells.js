// What a sweep's page knows of its cells: axes, metrics, the best one, what is missing. Pure.

import { findFamily } from "../core/states.js";
import { makeValueKey, readNumber, writeValue } from "./scales.js";

export const DURATION = "duration_seconds";
const SMALL_IS_GOOD = /loss|err|mse|mae|rmse|nll|perplexity|ppl|time|duration|seconds|latency|cost|regret|distance|wer|fid/i;

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
function listResults(cells) {
  const names = new Set();
  for (const cell of cells) for (const name of Object.keys(cell.row.result)) names.add(name);
  return [...names];
}

// List what cells can be compared by: results that are numbers, and how long the cells took.
export function listMetrics(cells) {
  const names = listResults(cells).filter((name) => cells.some((cell) => typeof readNumber(cell.row.result[name]) === "number"));
  return [...names, DURATION];
}

// Choose the metric that is shown at first: the first that differs between cells.
export function chooseMetric(cells, metrics) {
  const differs = (name) => {
    const first = cells.find((cell) => getNumber(cell, name) !== null);
    return first && cells.some((cell) => getNumber(cell, name) !== null && getNumber(cell, name) !== getNumber(first, name));
  };
  return metrics.find((name) => name !== DURATION && differs(name)) ?? metrics[0];
}

// Guess by its name whether the lowest value of a metric is the best: "min" or "max".
export const guessGoal = (metric) => (SMALL_IS_GOOD.test(metric.split(".").at(-1)) ? "min" : "max");

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

// Say why a cell has no place in a plot of a metric: "failed", "NaN", …; null where it has one.
export function findLack(cell, metric) {
  if (getNumber(cell, metric) !== null) return null;
  const number = readNumber(cell.row.result[metric]);
  if (metric !== DURATION && number !== null) return Number.isNaN(number) ? "NaN" : number < 0 ? "−∞" : "∞";
  return { done: "without a value", waiting: "waiting", running: "running", failed: "failed", cancelled: "cancelled" }[cell.family] ?? "without a value";
}

// Say in a sentence which cells a plot of a metric does not show; "" where it shows all.
export function describeLack(cells, metric) {
  const counts = new Map();
  for (const cell of cells) {
    const lack = findLack(cell, metric);
    if (lack) counts.set(lack, (counts.get(lack) ?? 0) + 1);
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (total === 0) return "";
  const parts = [...counts].sort((one, other) => other[1] - one[1]).map(([word, count]) => `${count.toLocaleString("en")} ${word}`);
  return `${total.toLocaleString("en")} ${total === 1 ? "cell" : "cells"} not shown: ${parts.join(", ")}`;
}

// Name a cell by the values of the axes that vary.
export function nameCell(cell, axes) {
  const named = axes.filter((axis) => axis.varies).map(({ name }) => `${name} = ${writeValue(cell.row.args[name])}`);
  return named.length > 0 ? named.join(", ") : `cell ${cell.number}`;
}

// List the args and results, and say of each whether it differs between cells.
export function listColumns(cells, axes) {
  const names = [...new Set([...axes.map(({ name }) => name), ...cells.flatMap((cell) => Object.keys(cell.row.args))])];
  return [
    ...names.map((name) => ({ name, kind: "arg", differs: doValuesDiffer(cells, (cell) => cell.row.args[name]) })),
    ...listResults(cells).map((name) => ({ name, kind: "result", differs: doValuesDiffer(cells.filter(({ row }) => name in row.result), ({ row }) => row.result[name]) })),
  ];
}

function doValuesDiffer(cells, pick) {
  if (cells.length < 2) return cells.length === 1;
  const first = makeValueKey(pick(cells[0]));
  return cells.some((cell) => makeValueKey(pick(cell)) !== first);
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

const FILTERS = {
  open: ({ family }) => family === "waiting" || family === "running",
  missing: (cell, metric) => findLack(cell, metric) !== null,
};

// Return whether a cell passes the filter by state: a family, "open", or "missing" a value of the metric.
export function hasState(cell, filter, metric) {
  if (!filter) return true;
  return FILTERS[filter] ? FILTERS[filter](cell, metric) : cell.family === filter;
}

// Lay cells out in rows and columns: one axis across, all others that vary down, the chosen one last.
//
// A matrix of one axis, or whose axis across is long, goes on in the next line. Returns { columns, rows (labels), across,
// down (names), places: Map of the cell's key to [column, row] }.
export function layOutMatrix(cells, axes, { across, down } = {}, mostColumns = 120) {
  const varying = axes.filter((axis) => axis.varies);
  if (varying.length < 2) return layOutLines(cells, varying[0] ?? axes[0], mostColumns);
  const acrossAxis = varying.find(({ name }) => name === across) ?? varying.reduce((one, other) => (other.values.length > one.values.length ? other : one));
  const rest = varying.filter((axis) => axis !== acrossAxis);
  const downAxis = rest.find(({ name }) => name === down) ?? rest.at(-1);
  const downAxes = [...rest.filter((axis) => axis !== downAxis), downAxis];
  const positions = new Map(varying.map(({ name, values }) => [name, new Map(values.map((value, at) => [makeValueKey(value), at]))]));
  const findAt = (cell, { name }) => positions.get(name).get(makeValueKey(cell.row.args[name])) ?? 0;
  const used = new Map(); // rows that have cells, by their place among all combinations
  const found = cells.map((cell) => {
    const row = downAxes.reduce((sum, axis) => sum * axis.values.length + findAt(cell, axis), 0);
    if (!used.has(row)) used.set(row, cell);
    return [cell.key, findAt(cell, acrossAxis), row];
  });
  const order = [...used.keys()].sort((one, other) => one - other);
  const rowOf = new Map(order.map((row, at) => [row, at]));
  const places = new Map(found.map(([key, column, row]) => [key, [column, rowOf.get(row)]]));
  return {
    across: acrossAxis.name,
    down: downAxes.map(({ name }) => name),
    columns: acrossAxis.values.map(writeValue),
    rows: order.map((row) => downAxes.map(({ name }) => writeValue(used.get(row).row.args[name])).join(" · ")),
    places,
  };
}

function layOutLines(cells, axis, mostColumns) {
  const width = cells.length <= mostColumns ? cells.length : Math.ceil(Math.sqrt(cells.length * 2));
  const isOneLine = width >= cells.length;
  const label = (cell) => (axis ? writeValue(cell.row.args[axis.name]) : String(cell.number));
  return {
    across: axis?.name ?? "cell",
    down: [],
    columns: isOneLine ? cells.map(label) : [],
    rows: isOneLine ? [""] : cells.filter((_, at) => at % width === 0).map((cell) => `${label(cell)} …`),
    width,
    places: new Map(cells.map((cell, at) => [cell.key, [at % width, Math.floor(at / width)]])),
  };
}
