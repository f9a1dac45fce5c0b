// Differences of two texts by lines, and the merge of two texts that came from one.

const MOST_STEPS = 2000; // of the search; beyond it the middle counts as changed whole

// Return the lines that both have: [[line of one, line of other], …], in order.
export function matchLines(one, other) {
  let start = 0;
  while (start < one.length && start < other.length && one[start] === other[start]) start += 1;
  let tail = 0;
  while (tail < one.length - start && tail < other.length - start && one[one.length - 1 - tail] === other[other.length - 1 - tail]) tail += 1;
  const pairs = Array.from({ length: start }, (_, at) => [at, at]);
  const middle = search(one.slice(start, one.length - tail), other.slice(start, other.length - tail));
  pairs.push(...middle.map(([left, right]) => [left + start, right + start]));
  for (let at = tail; at > 0; at -= 1) pairs.push([one.length - at, other.length - at]);
  return pairs;
}

// Myers: the shortest way from one to the other, by the number of changes.
function search(one, other) {
  const ways = [];
  let reach = new Map([[1, 0]]);
  for (let changes = 0; changes <= Math.min(one.length + other.length, MOST_STEPS); changes += 1) {
    ways.push(new Map(reach));
    for (let k = -changes; k <= changes; k += 2) {
      const isDown = k === -changes || (k !== changes && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let left = isDown ? reach.get(k + 1) : reach.get(k - 1) + 1;
      while (left < one.length && left - k < other.length && one[left] === other[left - k]) left += 1;
      reach.set(k, left);
      if (left >= one.length && left - k >= other.length) return walkBack(ways, one, other);
    }
  }
  return [];
}

function walkBack(ways, one, other) {
  const pairs = [];
  let [left, right] = [one.length, other.length];
  for (let changes = ways.length - 1; changes >= 0; changes -= 1) {
    const reach = ways[changes];
    const k = left - right;
    const isDown = k === -changes || (k !== changes && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
    const before = isDown ? k + 1 : k - 1;
    const [fromLeft, fromRight] = [reach.get(before) ?? 0, (reach.get(before) ?? 0) - before];
    while (left > fromLeft && right > fromRight && left > 0 && right > 0) {
      left -= 1;
      right -= 1;
      pairs.push([left, right]);
    }
    if (changes > 0) [left, right] = [fromLeft, fromRight];
  }
  return pairs.reverse();
}

// Return the difference: [{ sign: " ", "-" or "+", text, line }], with some lines around each change; null stands for a gap.
export function listDifferences(from, to, around = 2) {
  const [one, other] = [from.split("\n"), to.split("\n")];
  const rows = [];
  let [left, right] = [0, 0];
  for (const [nextLeft, nextRight] of [...matchLines(one, other), [one.length, other.length]]) {
    for (; left < nextLeft; left += 1) rows.push({ sign: "-", text: one[left], line: left + 1 });
    for (; right < nextRight; right += 1) rows.push({ sign: "+", text: other[right], line: right + 1 });
    if (nextLeft < one.length) rows.push({ sign: " ", text: one[nextLeft], line: nextRight + 1 });
    [left, right] = [nextLeft + 1, nextRight + 1];
  }
  const near = new Set(rows.flatMap((row, at) => (row.sign === " " ? [] : Array.from({ length: 2 * around + 1 }, (_, step) => at + step - around))));
  const shown = [];
  for (const [at, row] of rows.entries()) {
    if (near.has(at)) shown.push(row);
    else if (shown.length > 0 && shown.at(-1) !== null) shown.push(null);
  }
  if (shown.at(-1) === null) shown.pop();
  return shown;
}

// Merge two texts that came from `base`: { text, conflicts }. Where both changed the same lines, both stand there between marks.
export function mergeTexts(base, mine, theirs) {
  const [lines, own, other] = [base, mine, theirs].map((text) => text.split("\n"));
  const [ownAt, otherAt] = [new Map(matchLines(lines, own)), new Map(matchLines(lines, other))];
  const merged = [];
  let conflicts = 0;
  let [at, left, right] = [0, 0, 0];
  const take = (toBase, toOwn, toOther) => {
    const parts = [lines.slice(at, toBase), own.slice(left, toOwn), other.slice(right, toOther)];
    const [was, is, others] = parts.map((part) => part.join("\n"));
    const same = (one, two) => parts[one].length === parts[two].length && [was, is, others][one] === [was, is, others][two];
    if (same(0, 2) || same(1, 2)) merged.push(...parts[1]);
    else if (same(0, 1)) merged.push(...parts[2]);
    else {
      conflicts += 1;
      merged.push("<<<<<<< mine", ...parts[1], "=======", ...parts[2], ">>>>>>> theirs");
    }
  };
  for (let line = 0; line < lines.length; line += 1) {
    if (!ownAt.has(line) || !otherAt.has(line)) continue;
    take(line, ownAt.get(line), otherAt.get(line));
    merged.push(lines[line]);
    [at, left, right] = [line + 1, ownAt.get(line) + 1, otherAt.get(line) + 1];
  }
  take(lines.length, own.length, other.length);
  return { text: merged.join("\n"), conflicts };
}
