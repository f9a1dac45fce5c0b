// A day of use as a line: what was allocated, from 0 to 100 %, with gaps where nothing is known.

import { h, svg } from "../core/dom.js";
import { writeShortTime } from "../core/format.js";

const HEIGHT = 40;

// Return the path of a line through values of 0 to 100; a gap where there is none.
function drawPath(values) {
  let path = "";
  let isOpen = false;
  values.forEach((value, at) => {
    if (value === null || value === undefined) {
      isOpen = false;
      return;
    }
    const y = (HEIGHT - 1 - (Math.min(100, Math.max(0, value)) / 100) * (HEIGHT - 2)).toFixed(1);
    path += isOpen ? `L${at} ${y}` : `M${at} ${y}h.1`;
    isOpen = true;
  });
  return path;
}

// Describe a line in words: what it is now, and its peak.
function describeLine(values, times, now) {
  const known = values.map((value, at) => [value, at]).filter(([value]) => value !== null && value !== undefined);
  const words = now === null || now === undefined ? "not known now" : `now ${Math.round(now)} %`;
  if (known.length === 0) return `${words}; no history yet`;
  const [most, at] = known.reduce((best, each) => (each[0] > best[0] ? each : best));
  if (most <= (now ?? -1)) return `${words}, the most of the last 24 hours`;
  return `${words}; at most ${Math.round(most)} % at ${writeShortTime(times[at])}`;
}

// Make the picture of one line with its name and words.
export function makeHistoryLine({ title, values, times, now }) {
  const words = describeLine(values, times, now);
  const line = svg("path", { d: drawPath(values), class: "history-path", "vector-effect": "non-scaling-stroke" });
  const picture = svg("svg", { class: "history-line", viewBox: `0 0 ${Math.max(1, values.length - 1)} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}, the last 24 hours: ${words}` }, line);
  return h("div", { class: "history" }, h("p", null, h("strong", null, title), " ", h("span", { class: "hint" }, words)), picture);
}
