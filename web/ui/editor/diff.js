// Differences of two texts by lines, and the merge of two texts that came from one.

const MOST_PAIRS = 1e7; // of lines that are compared; beyond it the middle counts as changed whole

// Return the lines that both have: [[line of one, line of other], …], in order.
function matchLines(one, other) {
  const most = Math.min(one.length, other.length);
  let start = 0;
  while (start < most && one[start] === other[start]) start += 1;
  let tail = 0;
  while (tail < most - start && one.at(-1 - tail) === other.at(-1 - tail)) tail += 1;
  const pairs = Array.from({ length: start }, (_, at) => [at, at]);
  pairs.push(...search(one.slice(start, one.length - tail), other.slice(start, other.length - tail)).map(([left, right]) => [left + start, right + start]));
  for (let at = tail; at > 0; at -= 1) pairs.push([one.length - at, other.length - at]);
  return pairs;
}

// The longest row of lines that stand in both, one after the other.
function search(one, other) {
  const pairs = [];
  const width = other.length + 1;
  if (one.length * other.length > MOST_PAIRS) return pairs;
  const common = new Uint16Array((one.length + 1) * width); // how many lines the rests from here on have in common
  for (let left = one.length - 1; left >= 0; left -= 1) {
    for (let right = other.length - 1; right >= 0; right -= 1) {
      const at = left * width + right;
      common[at] = one[left] === other[right] ? common[at + width + 1] + 1 : Math.max(common[at + 1], common[at + width]);
    }
  }
  for (let [left, right] = [0, 0]; left < one.length && right < other.length; ) {
    const at = left * width + right;
    const isBoth = one[left] === other[right];
    const isLeft = isBoth || common[at + width] >= common[at + 1];
    if (isBoth) pairs.push([left, right]);
    if (isLeft) left += 1;
    if (isBoth || !isLeft) right += 1;
  }
  return pairs;
}

// Return what makes one text the other: [{ from, to, text }], places in the first, in order.
export function listEdits(one, other) {
  const [lines, others] = [one.split("\n"), other.split("\n")];
  const edits = [];
  let [left, right, from] = [0, 0, 0];
  for (const [nextLeft, nextRight] of [...matchLines(lines, others), [lines.length, others.length]]) {
    const to = lines.slice(left, nextLeft).reduce((sum, line) => sum + line.length + 1, from);
    const added = others.slice(right, nextRight);
    if (nextLeft === lines.length && nextLeft + added.length > left) {
      // The last line has no end: the one before it goes or comes along.
      const before = left > 0 && right > 0 ? 1 : 0;
      edits.push({ from: from - before, to: one.length, text: (before && added.length ? "\n" : "") + added.join("\n") });
    } else if (nextLeft > left || added.length > 0) edits.push({ from, to, text: added.map((line) => `${line}\n`).join("") });
    [left, right, from] = [nextLeft + 1, nextRight + 1, to + (lines[nextLeft]?.length ?? 0) + 1];
  }
  return edits;
}

// Compare two texts: [{ isSame, left: [lines], right: [lines] }], in order.
export function compareTexts(from, to) {
  const [one, other] = [from.split("\n"), to.split("\n")];
  const parts = [];
  let [left, right] = [0, 0];
  const add = (isSame, lines, others) => {
    if (lines.length + others.length === 0) return;
    if (parts.at(-1)?.isSame !== isSame) parts.push({ isSame, left: [], right: [] });
    parts.at(-1).left.push(...lines);
    parts.at(-1).right.push(...others);
  };
  for (const [nextLeft, nextRight] of [...matchLines(one, other), [one.length, other.length]]) {
    add(false, one.slice(left, nextLeft), other.slice(right, nextRight));
    add(true, one.slice(nextLeft, nextLeft + 1), other.slice(nextRight, nextRight + 1));
    [left, right] = [nextLeft + 1, nextRight + 1];
  }
  return parts;
}

// Return the difference: [{ sign: " ", "-" or "+", text }], with some lines around each change; null stands for a gap.
export function listDifferences(from, to, around = 2) {
  const take = (sign, lines) => lines.map((text) => ({ sign, text }));
  const rows = compareTexts(from, to).flatMap(({ isSame, left, right }) =>
    isSame ? take(" ", left) : [...take("-", left), ...take("+", right)],
  );
  const isNear = rows.map((_, at) => rows.slice(Math.max(0, at - around), at + around + 1).some(({ sign }) => sign !== " "));
  const shown = rows.flatMap((row, at) => (isNear[at] ? [row] : isNear[at - 1] ? [null] : []));
  return shown.at(-1) === null ? shown.slice(0, -1) : shown;
}

// Merge two texts that came from `base`: { text, conflicts }. Where both changed the same lines, both stand there between marks.
export function mergeTexts(base, mine, theirs) {
  const [lines, own, other] = [base, mine, theirs].map((text) => text.split("\n"));
  const [ownAt, otherAt] = [new Map(matchLines(lines, own)), new Map(matchLines(lines, other))];
  const merged = [];
  let conflicts = 0;
  let [at, left, right] = [0, 0, 0];
  for (let line = 0; line <= lines.length; line += 1) {
    const isEnd = line === lines.length;
    if (!isEnd && !(ownAt.has(line) && otherAt.has(line))) continue;
    const [toOwn, toOther] = isEnd ? [own.length, other.length] : [ownAt.get(line), otherAt.get(line)];
    const [was, is, others] = [lines.slice(at, line), own.slice(left, toOwn), other.slice(right, toOther)];
    const isSame = (one, two) => one.length === two.length && one.every((each, place) => each === two[place]);
    if (isSame(was, others) || isSame(is, others)) merged.push(...is);
    else if (isSame(was, is)) merged.push(...others);
    else {
      conflicts += 1;
      merged.push("<<<<<<< mine", ...is, "=======", ...others, ">>>>>>> theirs");
    }
    if (!isEnd) merged.push(lines[line]);
    [at, left, right] = [line + 1, toOwn + 1, toOther + 1];
  }
  return { text: merged.join("\n"), conflicts };
}
