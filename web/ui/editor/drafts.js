// What was typed and not saved, kept by this browser through a closed tab, a restart and signing in anew.

import { keepText, listKept, readKeptJson } from "../core/dom.js";

const PREFIX = "draft:";
const MOST_DRAFTS = 30;

// Return the draft of a text: { …, at_ms }, or null.
export const readDraft = (key) => readKeptJson(PREFIX + key);

// Keep a draft; null drops it. Returns whether it is kept.
export function keepDraft(key, draft) {
  const put = () => keepText(PREFIX + key, draft && JSON.stringify({ ...draft, at_ms: Date.now() }));
  if (put()) return true;
  for (const [other] of listDrafts().slice(MOST_DRAFTS)) if (other !== key) keepText(PREFIX + other, null);
  return put();
}

// Name the texts that have a draft: [[key, at_ms], …], the newest first.
export function listDrafts() {
  const keys = listKept(PREFIX).map((key) => key.slice(PREFIX.length));
  return keys.map((key) => [key, readDraft(key)?.at_ms ?? 0]).sort((one, other) => other[1] - one[1]);
}
