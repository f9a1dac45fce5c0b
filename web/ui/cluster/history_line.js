// A day of use as a line: what was allocated, from 0 to 100 %, with gaps where nothing is known.

import { h, svg } from "../core/dom.js";
import { writeShortTime } from "../core/format.js";

const HEIGHT = 40;

const isKnown = (value) => typeof value === "number";

// Return the path of a line through values of 0 to 100; a gap where there is none.
function drawPath(values) {
  let path = "";
  let isOpen = false;
  values.forEach((value, at) => {
    const y = (HEIGHT - 1 - (Math.min(100, value) / 100) * (HEIGHT - 2)).toFixed(1);
    if (isKnown(value)) path += isOpen ? `L${at} ${y}` : `M${at} ${y}h.1`;
    isOpen = isKnown(value);
  });
  return path;
}

// Describe a line in words: what it is now, and its peak.
function describeLine(values, times, now) {
  const words = isKnown(now) ? `now ${Math.round(now)} %` : "not known now";
  const most = Math.max(...values.filter(isKnown));
  if (most === -Infinity) return `${words}; no history yet`;
  if (Math.max(most, now ?? 0) === 0) return `${words}; none in 24 hours`;
  if (most <= now) return `${words}, the most in 24 hours`;
  return `${words}; at most ${Math.round(most)} % at ${writeShortTime(times[values.indexOf(most)])}`;
}

// Make the picture of one line with its name and words.
export function makeHistoryLine({ title, values, times, now }) {
  const words = describeLine(values, times, now);
  const line = svg("path", { d: drawPath(values), class: "history-path", "vector-effect": "non-scaling-stroke" });
  const viewBox = `0 0 ${Math.max(1, values.length - 1)} ${HEIGHT}`;
  const label = `${title}, the last 24 hours: ${words}`;
  const look = { class: "history-line", viewBox, preserveAspectRatio: "none", role: "img", "aria-label": label };
  const head = h("p", null, h("strong", null, title), " ", h("span", { class: "hint" }, words));
  return h("div", { class: "history" }, head, svg("svg", look, line));
}
