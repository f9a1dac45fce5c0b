// Keys: single letters act only outside of fields and without modifiers, do nothing that cannot be undone, and can be
// switched off.

import { h, keepText, readKept } from "./dom.js";
import { makePlainTable } from "./pane.js";

const NEXT_MS = 1500; // so long the second key of two is waited for

const keys = { on: readKept("keys") !== "off", bound: new Map(), first: null, timer: 0 };

// Return whether single keys act.
export const areKeysOn = () => keys.on;

// Switch single keys on or off, for good.
export function switchKeys(on) {
  keys.on = on;
  keepText("keys", on ? "on" : "off");
}

// Bind a key, or two one after the other ("g j"), to an act, with what it does in words. Returns what ends it.
export function bindKey(key, words, act) {
  const before = keys.bound.get(key);
  const own = { words, act };
  keys.bound.set(key, own);
  return () => {
    if (keys.bound.get(key) !== own) return;
    if (before) keys.bound.set(key, before);
    else keys.bound.delete(key);
  };
}

// Make the table of the keys that act now.
export function makeKeyTable() {
  const rows = [["Ctrl-K", "search and commands, also within a field"], ...[...keys.bound].map(([key, { words }]) => [key, words])];
  return makePlainTable("Keys", [["Key", "key"], "What it does"], rows.map(([key, words]) => [h("kbd", null, key), words]));
}

// Return whether the reader is typing into something.
function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

// Begin to listen to keys.
export function listenToKeys() {
  addEventListener("keydown", (event) => {
    if (!keys.on || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.key === "Shift") return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const pressed = keys.first ? `${keys.first} ${event.key}` : event.key;
    forgetFirst();
    const bound = keys.bound.get(pressed);
    if (bound) {
      event.preventDefault();
      bound.act();
    } else if ([...keys.bound.keys()].some((key) => key.startsWith(`${pressed} `))) {
      keys.first = pressed;
      keys.timer = setTimeout(forgetFirst, NEXT_MS);
    }
  });
}

function forgetFirst() {
  clearTimeout(keys.timer);
  keys.first = null;
}
