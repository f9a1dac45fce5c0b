// What is chosen for a sweep's plots: selects, switches and a menu, which are drawn again without closing.

import { h, makeId, show } from "../core/dom.js";

// Make a function that fills a node only where what it is filled with differs from the last time.
function makeFiller(fill) {
  let told = "";
  return (...given) => {
    const text = JSON.stringify(given);
    if (text !== told) fill(...given);
    told = text;
  };
}

// Make a select; `draw(options, value)` takes words or [value, words].
export function makeSelect(label, choose, name = label) {
  const select = h("select", { "aria-label": name, onchange: () => choose(select.value) });
  const makeOption = (each) => h("option", { value: [each].flat()[0] }, [each].flat().at(-1));
  const fill = makeFiller((options) => show(select, options.map(makeOption)));
  return {
    node: h("label", { class: "bar" }, label && h("span", { class: "hint" }, label), select),
    draw: (options, value) => {
      fill(options);
      select.value = value ?? "";
    },
  };
}

// Make the switch of a scale; `draw(scale)` shows whether the scale can be, and is, a logarithmic one.
export function makeSwitch(label, choose) {
  const box = h("input", { type: "checkbox", onchange: () => choose(box.checked) });
  const node = h("label", { class: "bar" }, box, label);
  return {
    node,
    draw: ({ canLog, isLog }) => {
      node.hidden = !canLog;
      box.checked = isLog;
    },
  };
}

// Make a menu of names of which several are chosen; `draw(names, chosen)` shows it, choose(null) means the usual ones.
export function makeMenu(label, choose) {
  const list = h("div", { class: "menu", popover: "auto", id: makeId("menu") });
  const boxes = h("div");
  list.append(boxes, h("button", { onclick: () => choose(null) }, "As at first"));
  const makeBox = (name) => h("label", null, h("input", { type: "checkbox", value: name, onchange: () => tell() }), name);
  const fill = makeFiller((names) => show(boxes, names.map(makeBox)));
  const listBoxes = () => [...boxes.querySelectorAll("input")];
  const tell = () => choose(listBoxes().filter((box) => box.checked).map((box) => box.value));
  return {
    node: h("span", null, h("button", { popovertarget: list.id }, label), list),
    draw: (names, chosen) => {
      fill(names);
      for (const box of listBoxes()) box.checked = chosen.includes(box.value);
    },
  };
}
