// What can be done with a text file of the store: a new one, a copy, another name, the end.

import { h } from "../core/dom.js";
import { request } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { goTo, makeLink } from "../core/router.js";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;
const RULE = "letters, digits, hyphens and underscores";

// Ask for the name of a file; `act(name)` is async and returns the address to go to. `more` are other fields, `list(name)`
// the calls that it makes, where it makes any.
export function askName({ title, label, name = "", more, act, list, whenClosed }) {
  const field = h("input", { name: "filename", value: name, required: true, autocomplete: "off", spellcheck: "false" });
  const form = makeForm([makeField("Name", field, { hint: `Only ${RULE}` }), more], {
    label,
    describe: list && (() => list(field.value)),
    act: async () => {
      if (!NAME.test(field.value)) throw Object.assign(new Error(), { problems: [{ loc: ["filename"], msg: `A name has only ${RULE}, 1 to 100 of them` }] });
      const link = await act(field.value);
      dialog.close();
      goTo(link);
    },
  });
  const dialog = openDialog(title, form, { whenClosed });
  field.select();
}

// Make the buttons beside the name of a file.
//
//   kind      the first part of its address, "workflows"; where: the rest of that address
//   text      its document, see editor/document.js
//   copy      (other name) => the call that writes it under another name
//   remove    () => the call that deletes it
export function makeFileActs({ kind, name, where, text, copy, remove, note = "" }) {
  const scope = "write";
  const ask = (label, list, whenDone) => {
    const act = async (other) => {
      for (const { method, path, ...options } of list(other)) await request(method, path, options);
      whenDone?.();
      return makeLink([kind, other], where);
    };
    return makeButton(`${label}…`, () => askName({ title: `${label} ${name}`, label, name: `${name}-2`, list, act }), { scope });
  };
  return [
    ask("Duplicate", (other) => [copy(other)]),
    ask("Rename", (other) => [copy(other), remove()], () => text.forget()),
    makeAction({
      label: "Delete",
      scope,
      question: () => `Delete the ${kind.slice(0, -1)} ${name}?${note}`,
      call: remove,
      done: () => {
        text.forget();
        goTo(makeLink(["workflows"]));
        return `The ${kind.slice(0, -1)} ${name} is deleted`;
      },
    }),
  ];
}
