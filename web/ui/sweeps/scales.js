// Scales of plots: where a value stands between 0 and 1, and which ticks are written there. Pure.
//
// Numbers stand on a linear or a logarithmic scale, all else on one of categories. What is no finite number has no place
// on a scale of numbers and does not set its limits.

const NUMBER_WORDS = { nan: NaN, inf: Infinity, infinity: Infinity, "+infinity": Infinity, "-inf": -Infinity, "-infinity": -Infinity };
const LONG_INTEGER = /^-?\d{16,}$/; // one that JavaScript cannot hold comes as a text, with all its digits
const LOG_RATIO = 16; // values closer together than this read well on a linear scale

// Return a value as a number, which may be NaN or infinite; null where it is none.
export function readNumber(value) {
  if (typeof value !== "string") return typeof value === "number" ? value : null;
  return LONG_INTEGER.test(value) ? Number(value) : (NUMBER_WORDS[value.toLowerCase()] ?? null);
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
function isLogSpaced(values) {
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
// Returns { kind: "linear", "log" or "category", canLog, isLog (what suits), place(value) → 0…1 or null, ticks: [{ at, label }] }.
// Limits of a scale are pairs of positions, which are numbers, and for categories 0 for the first: ends are those of the
// whole scale, toPosition(value) → position or null, read(0…1) → position, toPlace(position) → 0…1.
export function makeScale(values, { log = null, count = 5 } = {}) {
  const isNumeric = values.every((value) => readNumber(value) !== null || value === null || value === undefined);
  const numbers = listNumbers(values);
  if (!isNumeric || numbers.length === 0) return makeCategoryScale(values);
  const canLog = numbers[0] > 0;
  const isLog = canLog && (log ?? isLogSpaced(values));
  return { ...makeNumberScale(numbers, isLog, count), canLog, isLog };
}

function makeCategoryScale(values) {
  const keys = [...new Set(values.filter((value) => value !== undefined).map(makeValueKey))];
  const places = new Map(keys.map((key, at) => [key, at]));
  const last = Math.max(1, keys.length - 1);
  const toPlace = (at) => (keys.length === 1 ? 0.5 : at / last);
  const toPosition = (value) => places.get(makeValueKey(value)) ?? null;
  return {
    kind: "category",
    canLog: false,
    isLog: false,
    ends: [0, Math.max(0, keys.length - 1)],
    toPosition,
    toPlace,
    place: (value) => (toPosition(value) === null ? null : toPlace(toPosition(value))),
    read: (at) => (keys.length === 1 ? 0 : at * last),
    ticks: keys.map((key, at) => ({ at: toPlace(at), label: writeValue(JSON.parse(key)) })),
  };
}

function makeNumberScale(numbers, isLog, count) {
  const [turn, turnBack] = isLog ? [Math.log10, (number) => 10 ** number] : [Number, Number];
  const [low, high] = widen(numbers[0], numbers.at(-1), isLog);
  const [from, to] = [turn(low), turn(high)];
  const place = (value) => {
    const number = readNumber(value);
    return Number.isFinite(number) && (!isLog || number > 0) ? (turn(number) - from) / (to - from) : null;
  };
  // Values that are few and far enough apart are ticks themselves.
  const isApart = numbers.length <= count && numbers.every((number, at) => at === 0 || place(number) - place(numbers[at - 1]) > 0.1);
  const ticks = isApart ? numbers : isLog ? listLogTicks(low, high, count) : listNiceTicks(low, high, count);
  return {
    kind: isLog ? "log" : "linear",
    ends: [low, high],
    place,
    toPosition: (value) => (Number.isFinite(readNumber(value)) ? readNumber(value) : null),
    toPlace: (position) => place(position) ?? 0,
    read: (at) => (at <= 0 ? low : at >= 1 ? high : turnBack(from + at * (to - from))),
    ticks: ticks.map((at) => ({ at: place(at), label: writeNumber(at) })),
  };
}

// One value stands in the middle of its scale.
function widen(low, high, isLog) {
  if (low !== high) return [low, high];
  const by = Math.abs(low) / 10 || 0.5;
  return isLog ? [low / 2, low * 2] : [low - by, low + by];
}

// Return about so many round numbers between two.
export function listNiceTicks(low, high, count = 5) {
  const raw = (high - low) / Math.max(1, count);
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * size).find((each) => each >= raw * 0.999) ?? 10 * size;
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9 && ticks.length < 100; at++) {
    ticks.push(Number((at * step).toPrecision(12)));
  }
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
