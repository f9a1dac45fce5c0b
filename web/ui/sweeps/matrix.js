// The matrix of a sweep as a live grid: each cell with its state, and its value where there is room.

import { describeCell, findLack, getNumber } from "./cells.js";
import { makeGrid } from "./grid.js";
import { writeNumber } from "./scales.js";

const MANY_CELLS = 300; // of fewer, each tells its value in words
const MARKS = {
  waiting: "m6.5 5h3l1.5 1.5v3l-1.5 1.5h-3l-1.5 -1.5v-3z",
  running: "m6 4.5l5 3.5l-5 3.5z",
  done: "m4.5 8.5l2.5 2.5l4.5 -5.5",
  failed: "m4.5 4.5l7 7m0 -7l-7 7",
  cancelled: "m4.5 8h7",
  unknown: "m6 6l1 -1h2l1 1v1l-2 1.5v1m0 1.5v0.5",
};

// Make the matrix.
export const makeMatrix = (hear) => makeGrid({
  ...hear,
  kinds: MARKS,
  choose: ({ cells, axes, options }) => ({
    axes,
    across: options.cols,
    down: options.rows,
    label: `Matrix of ${cells.length.toLocaleString("en")} cells`,
  }),
  measure: ({ count, columns }, room) => {
    const side = Math.max(9, Math.min(24, Math.floor(room / columns)));
    return count <= MANY_CELLS ? [92, 26] : [side, side];
  },
  judge: (places, { metric }) => places.map(([cell]) => ({ kind: cell.family, word: writeWord(cell, metric) })),
  describe: ([cell], model) => describeCell(cell, model),
  pick: ([cell]) => cell,
});

function writeWord(cell, metric) {
  const number = getNumber(cell, metric);
  if (number !== null) return writeNumber(number, 4);
  return cell.family === "done" ? findLack(cell, metric) : cell.row.status;
}
