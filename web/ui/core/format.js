// Numbers, sizes, durations and times as people read them.

import { keepText, makeListeners, readKept } from "./dom.js";

const SAME_MS = 5000; // clocks that differ by less are the same: the answer has taken some time
const zone = { name: readKept("zone") ?? "viewer", offset_minutes: 0, ahead_ms: 0, listeners: makeListeners() };

export const ZONES = { viewer: "your time", UTC: "UTC", cluster: "cluster time" };

// Choose in which zone all times are shown: viewer, UTC or cluster.
export function chooseZone(name) {
  zone.name = name;
  keepText("zone", name);
  zone.listeners.tell();
}

// Return the zone that is chosen, as it names itself.
export function nameZone() {
  if (zone.name === "UTC") return "UTC";
  if (zone.name === "cluster") return `cluster (${writeOffset(zone.offset_minutes)})`;
  return `your time (${writeOffset(-new Date().getTimezoneOffset())})`;
}

export const getZone = () => zone.name;

// Say what the server's clock shows, and how far the cluster's zone is from UTC.
export function setClusterClock(time, minutes) {
  const ahead_ms = toMs(time) - Date.now();
  Object.assign(zone, { offset_minutes: minutes, ahead_ms: Math.abs(ahead_ms) > SAME_MS ? ahead_ms : 0 });
}

// Return what the time is (ms) by the server's clock: that of the browser may be an hour off.
export const getNow = () => Date.now() + zone.ahead_ms;

// Call the function when another zone is chosen. Returns what ends it.
export function whenZoneChanges(listener) {
  return zone.listeners.listen(listener);
}

function writeOffset(minutes) {
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${size % 60 ? `:${pad(size % 60)}` : ""}`;
}

const pad = (number) => String(number).padStart(2, "0");

// Return the parts of a moment (ms) in the zone that is chosen.
function takeApart(at_ms) {
  const offset = zone.name === "UTC" ? 0 : zone.name === "cluster" ? zone.offset_minutes : -new Date(at_ms).getTimezoneOffset();
  return new Date(at_ms + offset * 60_000);
}

// Write a moment (ms or RFC 3339): the day, and the time to the second.
export function writeTime(moment) {
  const at_ms = toMs(moment);
  if (at_ms === null) return "";
  const parts = takeApart(at_ms);
  return `${parts.getUTCFullYear()}-${pad(parts.getUTCMonth() + 1)}-${pad(parts.getUTCDate())} ${writeClock(parts)}`;
}

// Write a moment in short: the time alone where it is today.
export function writeShortTime(moment) {
  const at_ms = toMs(moment);
  if (at_ms === null) return "";
  const [parts, now] = [takeApart(at_ms), takeApart(getNow())];
  const isToday = parts.toISOString().slice(0, 10) === now.toISOString().slice(0, 10);
  return isToday ? writeClock(parts) : `${pad(parts.getUTCMonth() + 1)}-${pad(parts.getUTCDate())} ${writeClock(parts).slice(0, 5)}`;
}

const writeClock = (parts) => `${pad(parts.getUTCHours())}:${pad(parts.getUTCMinutes())}:${pad(parts.getUTCSeconds())}`;

// Return how many minutes the zone that is chosen is ahead of UTC at a moment (ms).
export function findOffset(at_ms) {
  return Math.round((takeApart(at_ms) - at_ms) / 60_000);
}

// Write a time of an axis whose times are so far apart (ms): to the second, to the minute, or the day.
export function writeClockTime(at_ms, step_ms) {
  const parts = takeApart(at_ms);
  const isMidnight = parts.getUTCHours() + parts.getUTCMinutes() + parts.getUTCSeconds() === 0;
  if (step_ms >= 86_400_000 || (isMidnight && step_ms >= 3_600_000)) return `${pad(parts.getUTCMonth() + 1)}-${pad(parts.getUTCDate())}`;
  return step_ms < 60_000 ? writeClock(parts) : writeClock(parts).slice(0, 5);
}

// Return a moment in ms; null where there is none.
export function toMs(moment) {
  if (moment === null || moment === undefined || moment === "") return null;
  const at_ms = typeof moment === "number" ? moment : Date.parse(moment);
  return Number.isNaN(at_ms) ? null : at_ms;
}

// Write a moment for a field of type datetime-local, in the zone that is chosen.
export function writeField(at_ms) {
  return takeApart(at_ms).toISOString().slice(0, 19);
}

// Read a field of type datetime-local, in the zone that is chosen: ms, or null.
export function readField(text) {
  const there_ms = toMs(text && `${text}Z`);
  if (there_ms === null) return null;
  // The offset is that of the moment itself, which is known but for the hour in which clocks are changed.
  const at_ms = 2 * there_ms - takeApart(there_ms).getTime();
  return there_ms - (takeApart(at_ms).getTime() - at_ms);
}

// Write a duration: 5 s, 3:05, 2:03:05, 1-02:03:05. Never less than nothing.
export function writeDuration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "";
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const [days, hours, minutes] = [Math.floor(whole / 86_400), Math.floor((whole % 86_400) / 3600), Math.floor((whole % 3600) / 60)];
  if (days) return `${days}-${pad(hours)}:${pad(minutes)}:${pad(whole % 60)}`;
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

// Read a duration of the API ("1-02:03:05", "1:30:00") as seconds; null for none or without a limit.
export function readDuration(text) {
  const match = /^(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)$/.exec(text ?? "");
  if (!match) return null;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0));
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
}

// Write how long ago something was, in one unit.
export function writeAge(moment, now_ms = getNow()) {
  const at_ms = toMs(moment);
  if (at_ms === null) return "";
  const seconds = Math.max(0, (now_ms - at_ms) / 1000);
  const [size, unit] = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

// Write a number of bytes in units of 1024.
export function writeBytes(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let [size, unit] = [bytes, 0];
  while (size >= 1024 && unit < 4) [size, unit] = [size / 1024, unit + 1];
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

// Write a count with its word: 1 job, 12 jobs, 10,000 jobs.
export function writeCount(count, word, words = `${word}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? word : words}`;
}
