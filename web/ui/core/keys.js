// Keys: single letters act only outside of fields and without modifiers, do nothing that cannot be undone, and can be
// switched off.

const keys = { on: localStorage.getItem("keys") !== "off", bound: new Map() };

// Return whether single keys act.
export const areKeysOn = () => keys.on;

// Switch single keys on or off, for good.
export function switchKeys(on) {
  keys.on = on;
  localStorage.setItem("keys", on ? "on" : "off");
}

// Bind a key to an act, with what it does in words. Returns what ends it.
export function bindKey(key, words, act) {
  keys.bound.set(key, { words, act });
  return () => keys.bound.delete(key);
}

// List the keys that act now: [key, words].
export const listKeys = () => [...keys.bound].map(([key, { words }]) => [key, words]);

// Return whether the reader is typing into something.
export function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

// Begin to listen to keys.
export function listenToKeys() {
  addEventListener("keydown", (event) => {
    if (!keys.on || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const bound = keys.bound.get(event.key);
    if (!bound) return;
    event.preventDefault();
    bound.act();
  });
}
