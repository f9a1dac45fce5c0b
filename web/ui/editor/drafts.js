// What was typed and not saved, kept by this browser through a closed tab, a restart and signing in anew.

const PREFIX = "draft:";
const MOST_DRAFTS = 30;

// Return the draft of a text: { …, at_ms }, or null.
export function readDraft(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key));
  } catch {
    return null;
  }
}

// Keep a draft; null drops it. Returns whether it is kept.
export function keepDraft(key, draft) {
  const put = () => {
    if (draft === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify({ ...draft, at_ms: Date.now() }));
    return true;
  };
  try {
    return put();
  } catch {
    for (const [other] of listDrafts().slice(MOST_DRAFTS)) if (other !== key) localStorage.removeItem(PREFIX + other);
  }
  try {
    return put();
  } catch {
    return false;
  }
}

// Name the texts that have a draft: [[key, at_ms], …], the newest first.
export function listDrafts() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX)).map((key) => key.slice(PREFIX.length));
  return keys.map((key) => [key, readDraft(key)?.at_ms ?? 0]).sort((one, other) => other[1] - one[1]);
}
