// What can be done with a text file of the store: a new one, a copy, another name, the end.

import { h } from "../core/dom.js";
import { request } from "../core/api.js";
import { makeAction, makeButton } from "../core/action.js";
import { makeField, makeForm, openDialog } from "../core/dialog.js";
import { goTo, makeLink } from "../core/router.js";

const NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$/;
const RULE = "letters, digits, hyphens and underscores";

// Ask for the name of a file; `act(name)` is async and returns the address to go to. `more` are other fields.
export function askName({ title, label, name = "", more, act, whenClosed }) {
  const field = h("input", { name: "filename", value: name, required: true, autocomplete: "off", spellcheck: "false" });
  const form = makeForm([makeField("Name", field, { hint: `Only ${RULE}` }), more], {
    label,
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
//   copyTo    async (other name): writes it under another name
//   remove    () => the call that deletes it
export function makeFileActs({ kind, name, where, text, copyTo, remove, note = "" }) {
  const scope = "write";
  const ask = (label, act) => makeButton(`${label}…`, () => askName({ title: `${label} ${name}`, label, name: `${name}-2`, act: async (other) => {
    await copyTo(other);
    await act?.();
    return makeLink([kind, other], where);
  } }), { scope });
  return [
    ask("Duplicate"),
    ask("Rename", async () => {
      const { method, path, ...options } = remove();
      await request(method, path, options);
      text.forget();
    }),
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
