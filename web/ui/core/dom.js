// Building and finding parts of the page. Text always becomes text nodes: nothing that a job says is ever markup.

const SVG = "http://www.w3.org/2000/svg";

// Make an element: h("a", { href, class, onclick, "aria-label" }, "text", child). A button sends no form unless told to.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), tag === "button" ? { type: "button", ...props } : props, children);
}

// Make an element of SVG; its properties are attributes.
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) setProp(node, name, value);
  node.append(...children.flat(Infinity).filter(isShown));
  return node;
}

const isShown = (child) => child !== null && child !== undefined && child !== false;

function setProp(node, name, value) {
  const text = writeValue(name, value);
  if (text === null) return;
  if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (name === "style") Object.entries(value).forEach(([key, text]) => node.style.setProperty(key, text));
  else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
  else node.setAttribute(name, text);
}

// Return the text of an attribute, null where it is absent. What ARIA says is true or false, in words.
function writeValue(name, value) {
  if (value === null || value === undefined) return null;
  if (typeof value !== "boolean" || name.startsWith("aria-")) return String(value);
  return value ? "" : null;
}

// Put other children into a node, in place of what it has.
export function show(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter(isShown));
  return node;
}

// Put other children into a node, but leave those alone that look the same: what is selected in them stays, and what they
// listen to too. So it is for what only shows something.
export function renew(node, ...children) {
  const made = show(node.cloneNode(false), children);
  if (node.childNodes.length === made.childNodes.length) renewEach(node, made);
  else show(node, ...made.childNodes);
}

function renewEach(node, made) {
  const parts = [...made.childNodes];
  [...node.childNodes].forEach((child, at) => renewOne(child, parts[at]));
}

function renewOne(node, made) {
  if (node.isEqualNode(made)) return;
  const isAlike = node.hasChildNodes() && node.childNodes.length === made.childNodes.length && node.cloneNode(false).isEqualNode(made.cloneNode(false));
  if (isAlike) renewEach(node, made);
  else node.replaceWith(made);
}

// Change the text of a node only where it is another, so that a selection survives.
export function setText(node, text) {
  const shown = String(text ?? "");
  if (node.textContent !== shown) node.textContent = shown;
}

// Set or remove an attribute, only where it changes.
export function setAttribute(node, name, value) {
  const text = writeValue(name, value);
  if (text === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

// Make a choice of one: choices are [value, words], or a word that is both. What is not among them is shown as it is;
// `addChoices` takes more of them, `showValue` another value.
export function makeChoice(label, choices, value, whenChosen) {
  const select = h("select", { "aria-label": label, onchange: () => whenChosen(select.value) });
  const addChoices = (more) => {
    const known = new Set([...select.options].map((option) => option.value));
    const pairs = more.map((each) => (Array.isArray(each) ? each : [each, each]));
    select.append(...pairs.filter(([key]) => !known.has(key)).map(([key, words]) => h("option", { value: key }, words)));
  };
  const showValue = (now) => {
    addChoices([now]);
    select.value = now;
  };
  addChoices(choices);
  showValue(value);
  return Object.assign(select, { addChoices, showValue });
}

// Let the browser save a text as a file.
export function saveFile(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Read what this browser keeps, as text; null where there is nothing, or storage is forbidden. `place` is the storage of
// the tab or of all tabs.
export function readKept(key, place = "localStorage") {
  try {
    return globalThis[place].getItem(key);
  } catch {
    return null;
  }
}

// Read what was kept as JSON; null where it is none.
export function readKeptJson(key, place) {
  try {
    return JSON.parse(readKept(key, place));
  } catch {
    return null;
  }
}

// Keep a text, null to forget it. Returns whether it is kept: there may be no room, or no permission.
export function keepText(key, text, place = "localStorage") {
  try {
    if (text === null) globalThis[place].removeItem(key);
    else globalThis[place].setItem(key, text);
    return true;
  } catch {
    return false;
  }
}

// Name what all tabs keep whose key begins so.
export function listKept(prefix) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}

// Set or remove several attributes, only where they change.
export function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
}

// Make an id that no other element of the page has, for labels.
export function makeId(prefix = "x") {
  makeId.last = (makeId.last ?? 0) + 1;
  return `${prefix}-${makeId.last}`;
}

// Keep who listens to something: { listen(hear), which returns what ends it, tell(…), clear }.
export function makeListeners() {
  const all = new Set();
  return {
    listen: (hear) => {
      all.add(hear);
      return () => all.delete(hear);
    },
    tell: (...given) => all.forEach((hear) => hear(...given)),
    clear: () => all.clear(),
  };
}

// Call the function at most once for each frame that is painted, however often it is asked for.
export function oncePerFrame(work) {
  let asked = 0;
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      work();
    });
  };
}

// Call the function when nobody has asked for it for so long.
export function debounce(work, wait_ms) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(work, wait_ms, ...given);
  };
}

// Make a function calm: what is asked for again within so long is done once, after it, and a page that is hidden waits
// until it is looked at. Returns { ask, stop }.
export function makeCalm(work, calm_ms) {
  let [last_ms, timer, isWaiting] = [0, 0, false];
  const ask = () => {
    clearTimeout(timer);
    isWaiting = document.hidden;
    if (isWaiting) return;
    const wait_ms = last_ms + calm_ms - Date.now();
    if (wait_ms > 0) timer = setTimeout(ask, wait_ms);
    else {
      last_ms = Date.now();
      work();
    }
  };
  const look = () => isWaiting && ask();
  document.addEventListener("visibilitychange", look);
  return {
    ask,
    stop: () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
    },
  };
}

// Keep children in step with a list: nodes with the same key stay where they are, with focus and selection.
export function keepInStep(parent, items, getKey, make, update) {
  const keys = items.map((item) => String(getKey(item)));
  const wanted = new Set(keys);
  const known = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  // What goes, goes first: then nodes that stay need not be moved, which would end a selection in them.
  for (const [key, node] of known) if (!wanted.has(key)) node.remove();
  let at = parent.firstElementChild;
  for (const [place, item] of items.entries()) {
    let node = known.get(keys[place]);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = keys[place];
    } else update?.(node, item);
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}
