// Scales of plots: where a value stands between 0 and 1, and which ticks are written there. Pure.
//
// Numbers stand on a linear or a logarithmic scale, all else on one of categories. What is no finite number has no place
// on a scale of numbers and does not set its limits.

const NUMBER_WORDS = { nan: NaN, inf: Infinity, infinity: Infinity, "+infinity": Infinity, "-inf": -Infinity, "-infinity": -Infinity };
const LOG_RATIO = 20; // values closer together than this read well on a linear scale

// Return a value as a number, which may be NaN or infinite; null where it is none.
export function readNumber(value) {
  if (typeof value === "number") return value;
  return typeof value === "string" ? (NUMBER_WORDS[value.toLowerCase()] ?? null) : null;
}

// Return the key of any value, by which equal ones are found.
export const makeValueKey = (value) => JSON.stringify(value) ?? "null";

// Write a value in short: numbers to five digits, other values as they are.
export function writeValue(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "number") return writeNumber(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

// Write a number to so many digits, without zeros that tell nothing.
export function writeNumber(value, digits = 5) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value < 0 ? "−∞" : "∞";
  const size = Math.abs(value);
  const isWhole = Number.isInteger(value) && size < 1e9;
  if (isWhole) return minus(String(value));
  if (size < 1e-3 || size >= 1e6) return minus(value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e"));
  return minus(String(Number(value.toPrecision(digits))));
}

const minus = (text) => text.replace(/^-/, "−");

// Return the finite numbers among values, each once, in order.
function listNumbers(values) {
  return [...new Set(values.map(readNumber).filter(Number.isFinite))].sort((one, other) => one - other);
}

// Return whether values are better told apart on a logarithmic scale: all positive, far apart, even in their ratios.
export function isLogSpaced(values) {
  const numbers = listNumbers(values);
  if (numbers.length < 2 || numbers[0] <= 0 || numbers.at(-1) / numbers[0] < LOG_RATIO) return false;
  return numbers.length === 2 || measureSpread(numbers.map(Math.log)) < measureSpread(numbers);
}

// How uneven the steps between numbers are, as a part of their mean.
function measureSpread(numbers) {
  const steps = numbers.slice(1).map((number, at) => number - numbers[at]);
  const mean = steps.reduce((sum, step) => sum + step, 0) / steps.length;
  return Math.sqrt(steps.reduce((sum, step) => sum + (step - mean) ** 2, 0) / steps.length) / mean;
}

// Make a scale for values. `log` is true, false, or null for what suits the values.
//
// Returns { kind: "linear", "log" or "category", canLog, place(value) → 0…1 or null, read(0…1) → number, ticks }. A scale
// of categories reads positions, 0 for the first. A tick is { at, label }.
export function makeScale(values, { log = null, count = 5 } = {}) {
  const isNumeric = values.every((value) => readNumber(value) !== null || value === null || value === undefined);
  const numbers = listNumbers(values);
  if (!isNumeric || numbers.length === 0) return makeCategoryScale(values);
  const canLog = numbers[0] > 0;
  if (canLog && (log ?? isLogSpaced(values))) return makeLogScale(numbers, count);
  return { ...makeLinearScale(numbers, count), canLog };
}

function makeCategoryScale(values) {
  const given = values.filter((value) => value !== undefined);
  const places = new Map([...new Set(given.map(makeValueKey))].map((key, at) => [key, at]));
  const last = Math.max(1, places.size - 1);
  const toPlace = (at) => (places.size === 1 ? 0.5 : at / last);
  return {
    kind: "category",
    canLog: false,
    place: (value) => (places.has(makeValueKey(value)) ? toPlace(places.get(makeValueKey(value))) : null),
    read: (at) => (places.size === 1 ? 0 : at * last),
    toPosition: (value) => places.get(makeValueKey(value)) ?? null,
    ticks: [...places].map(([key, at]) => ({ at: toPlace(at), label: writeValue(JSON.parse(key)) })),
  };
}

function makeLinearScale(numbers, count) {
  const [low, high] = widen(numbers[0], numbers.at(-1));
  const few = numbers.length <= count && isEven(numbers, low, high);
  const ticks = few ? numbers : listNiceTicks(low, high, count);
  const place = (value) => placeBetween(readNumber(value), low, high);
  return { kind: "linear", place, read: makeReader(low, high), toPosition: readFinite, ticks: ticks.map((at) => ({ at: place(at), label: writeNumber(at) })) };
}

function makeLogScale(numbers, count) {
  const [low, high] = numbers.length === 1 ? [numbers[0] / 2, numbers[0] * 2] : [numbers[0], numbers.at(-1)];
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const place = (value) => {
    const number = readNumber(value);
    return number !== null && number > 0 ? placeBetween(Math.log10(number), from, to) : null;
  };
  const few = numbers.length <= count && isEven(numbers.map(Math.log10), from, to);
  const ticks = few ? numbers : listLogTicks(low, high, count);
  const read = (at) => (at <= 0 ? low : at >= 1 ? high : 10 ** (from + at * (to - from)));
  return { kind: "log", canLog: true, place, read, toPosition: readFinite, ticks: ticks.map((at) => ({ at: place(at), label: writeNumber(at) })) };
}

// Values that are apart far enough are ticks themselves.
const isEven = (numbers, low, high) => numbers.every((number, at) => at === 0 || (number - numbers[at - 1]) / (high - low) > 0.1);

const makeReader = (low, high) => (at) => (at <= 0 ? low : at >= 1 ? high : low + at * (high - low));

function readFinite(value) {
  const number = readNumber(value);
  return Number.isFinite(number) ? number : null;
}

function placeBetween(number, low, high) {
  return number === null || !Number.isFinite(number) ? null : low === high ? 0.5 : (number - low) / (high - low);
}

function widen(low, high) {
  if (low !== high) return [low, high];
  const by = Math.abs(low) / 10 || 0.5;
  return [low - by, low + by];
}

// Return about so many round numbers between two.
export function listNiceTicks(low, high, count = 5) {
  const raw = (high - low) / Math.max(1, count);
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * size).find((each) => each >= raw * 0.999) ?? 10 * size;
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9 && ticks.length < 100; at++) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

// Return powers of ten between two numbers; 1, 2 and 5 of each where these are few, not all of them where they are many.
export function listLogTicks(low, high, count = 5) {
  const list = (times) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      found.push(...times.map((each) => Number(`${each}e${power}`)).filter((tick) => tick >= low * 0.999999 && tick <= high * 1.000001));
    }
    return found;
  };
  const powers = list([1]);
  if (powers.length < 2) return list([1, 2, 5]).length < 2 ? [low, high] : list([1, 2, 5]);
  const each = Math.ceil(powers.length / (count + 2));
  return powers.filter((_, at) => at % each === 0);
}

// Return which of so many equal steps of a scale a place is in.
export const findBin = (at, bins) => Math.min(bins - 1, Math.max(0, Math.floor(at * bins)));
