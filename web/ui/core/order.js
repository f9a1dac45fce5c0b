// The order of a table's rows: by a column, tasks below their array, without those that are hidden.

const collator = new Intl.Collator("en", { numeric: true });
const isNothing = (value) => value === null || value === undefined || value === "" || (typeof value === "number" && !Number.isFinite(value));

// Numbers are compared by size, texts by their words; what is missing comes last.
function compareEntries(one, other, sign) {
  if (one.value !== other.value) {
    if (one.isMissing || other.isMissing) {
      if (one.isMissing !== other.isMissing) return one.isMissing ? 1 : -1;
    } else {
      const order = typeof one.value === "number" && typeof other.value === "number" ? one.value - other.value : collator.compare(one.value, other.value);
      if (order !== 0) return sign * order;
    }
  }
  return collator.compare(other.key, one.key);
}

// Keep rows in order.
//
//   getValue(row)   what is sorted by
//   getParent(row)  the key of the row that it stands below, or null
//   isShown(entry)  whether it is to be seen
//
// Returns { all, entries (those to be seen), byKey, setRows, sortAll, hideSome, findPlace }; an entry is { key, row, … }.
export function makeOrder({ getValue, getParent = () => null, isShown = () => true }) {
  const order = { all: [], entries: [], byKey: new Map(), isDescending: false };

  const makeEntry = (key, row) => {
    const value = getValue(row) ?? null;
    return { key, row, value, isMissing: isNothing(value), parent: getParent(row), root: null };
  };
  const findRoot = (entry) => (entry.root = (entry.parent !== null && order.byKey.get(entry.parent)) || entry);

  function compare(one, other) {
    const sign = order.isDescending ? -1 : 1;
    if (one.root !== other.root) return compareEntries(one.root, other.root, sign);
    if (one === other) return 0;
    if (one.root === one) return -1;
    return other.root === other ? 1 : compareEntries(one, other, sign);
  }

  function findIn(entries, entry) {
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(entries[middle], entry) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function fillAll(rows) {
    order.byKey = new Map([...rows].map(([key, row]) => [key, makeEntry(key, row)]));
    order.all = [...order.byKey.values()];
    order.all.forEach(findRoot);
    order.all.sort(compare);
  }

  // Put one row in its place; false where that moves others too, so that all are to be sorted.
  function setRow(key, row) {
    const known = order.byKey.get(key);
    if (known && row !== undefined && known.parent === getParent(row) && Object.is(known.value, getValue(row) ?? null)) {
      known.row = row;
      return true;
    }
    if (order.hasParents) return false;
    if (known) {
      order.all.splice(findIn(order.all, known), 1);
      order.byKey.delete(key);
    }
    if (row === undefined) return true;
    const entry = makeEntry(key, row);
    order.byKey.set(key, entry);
    findRoot(entry);
    order.all.splice(findIn(order.all, entry), 0, entry);
    return true;
  }

  function hideSome() {
    order.entries = order.all.filter(isShown);
  }

  return Object.assign(order, {
    hideSome,
    findPlace: (entry) => findIn(order.entries, entry),
    // Put other rows in order; `changed` are the keys that differ, all of them when it is null.
    setRows: (rows, changed) => {
      order.hasParents = false;
      if (changed === null || changed.size > 200) fillAll(rows);
      else {
        // What stands below another row moves with it: such rows are few, and sorting what is nearly in order is quick.
        order.hasParents = [...changed].some((key) => isBelow(rows.get(key)) || isBelow(order.byKey.get(key)?.row) || isAbove(key));
        if (![...changed].every((key) => setRow(key, rows.get(key)))) fillAll(inOrder(rows));
      }
      hideSome();
    },
    sortAll: () => {
      for (const entry of order.all) {
        entry.value = getValue(entry.row) ?? null;
        entry.isMissing = isNothing(entry.value);
      }
      order.all.sort(compare);
      hideSome();
    },
  });

  function isBelow(row) {
    return row !== undefined && getParent(row) !== null;
  }

  function isAbove(key) {
    return order.byKey.get(key)?.row.isGroup === true;
  }

  // The rows as they stood last time, and new ones after them: quick to sort.
  function inOrder(rows) {
    const kept = order.all.filter(({ key }) => rows.has(key)).map(({ key }) => [key, rows.get(key)]);
    return [...kept, ...[...rows].filter(([key]) => !order.byKey.has(key))];
  }
}

// Write rows as CSV, with all digits of each value.
export function writeCsv(rows, columns) {
  const lines = [columns.map((column) => column.title), ...rows.map((row) => columns.map((column) => column.value(row) ?? ""))];
  return lines.map((cells) => cells.map(quoteCell).join(",")).join("\r\n") + "\r\n";
}

// A cell that a spreadsheet would take for a formula is quoted as text.
function quoteCell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
