// Arrays of jobs, bundled: one row for each, and its tasks below it when it is opened.

const TASK = /^(\d+)_(.+)$/;
const MOST_TASKS = 100_000; // of one row of tasks that wait together

// Return the number of the array that a row belongs to, or null.
function findArray(job_id) {
  return TASK.exec(job_id)?.[1] ?? null;
}

// List the numbers of tasks that wait together: "[3-5,9%2]" is 3, 4, 5, 9.
function listTasks(job_id) {
  const inside = /_\[([^\]%]*)/.exec(job_id)?.[1];
  if (inside === undefined) return [];
  const numbers = [];
  for (const part of inside.split(",")) {
    const match = /^(\d+)(?:-(\d+)(?::(\d+))?)?$/.exec(part);
    if (!match) continue;
    const [first, last, step] = [Number(match[1]), Number(match[2] ?? match[1]), Number(match[3] ?? 1) || 1];
    for (let number = first; number <= last && numbers.length < MOST_TASKS; number += step) numbers.push(number);
  }
  return numbers;
}

// Return how many jobs a row stands for.
export const countTasks = (job) => (job.job_id.includes("[") ? listTasks(job.job_id).length : 1);

// Keep the rows of a list with its arrays bundled.
//
// update(rows, changed) takes the rows of the API and returns what differs as a Set, or null for all; `rows` is what is
// to be shown: jobs, arrays ({ isGroup, array_id, isOpen, members }), and tasks, whose `origin` is the row of the API.
export function makeBundles() {
  const bundles = { rows: new Map(), opened: new Set(), update, toggle, listMembers };
  let source = new Map();
  const members = new Map(); // array -> keys of the API's rows

  const isBundled = (array) => {
    const keys = members.get(array);
    return keys !== undefined && (keys.size > 1 || [...keys][0].includes("["));
  };

  function update(rows, changed) {
    const all = changed === null || source.size === 0 ? new Set([...source.keys(), ...rows.keys()]) : changed;
    source = rows;
    const touched = new Set();
    const differs = new Set();
    for (const key of all) {
      const array = findArray(key);
      if (array === null) {
        setRow(key, rows.get(key), differs);
        continue;
      }
      touched.add(array);
      if (!members.has(array)) members.set(array, new Set());
      if (rows.has(key)) members.get(array).add(key);
      else members.get(array).delete(key);
      if (members.get(array).size === 0) members.delete(array);
    }
    for (const array of touched) drawArray(array, differs);
    return differs;
  }

  function setRow(key, row, differs) {
    if (row === undefined) bundles.rows.delete(key);
    else bundles.rows.set(key, row);
    differs.add(key);
  }

  const shownBy = new Map(); // array -> keys of its rows that are shown

  function drawArray(array, differs) {
    for (const key of shownBy.get(array) ?? []) setRow(key, undefined, differs);
    const keys = new Set();
    const put = (key, row) => {
      keys.add(key);
      setRow(key, row, differs);
    };
    if (!isBundled(array)) for (const key of members.get(array) ?? []) put(key, source.get(key));
    else {
      put(`${array}_*`, makeGroup(array));
      if (bundles.opened.has(array)) for (const task of listTaskRows(array)) put(task.job_id, task);
    }
    if (keys.size > 0) shownBy.set(array, keys);
    else shownBy.delete(array);
  }

  function makeGroup(array) {
    const rows = listMembers(array);
    const last = rows.reduce((best, row) => ((row.submit_time ?? "") > (best.submit_time ?? "") ? row : best), rows[0]);
    const sum = { elapsed_time: null, start_time: null, end_time: null, exit_code: null, reason: null, reason_text: null, nodes: [] };
    return { ...last, ...sum, job_id: `${array}_*`, isGroup: true, array_id: array, isOpen: bundles.opened.has(array), state: findMainState(rows) };
  }

  function listTaskRows(array) {
    return listMembers(array).flatMap((row) =>
      row.job_id.includes("[")
        ? listTasks(row.job_id).map((number) => ({ ...row, job_id: `${array}_${number}`, array_id: array, origin: row.job_id }))
        : [{ ...row, array_id: array, origin: row.job_id }],
    );
  }

  // List the rows of the API that belong to an array.
  function listMembers(array) {
    return [...(members.get(array) ?? [])].map((key) => source.get(key)).filter(Boolean);
  }

  // Open or close an array. Returns the keys that differ.
  function toggle(array) {
    if (!bundles.opened.delete(array)) bundles.opened.add(array);
    const differs = new Set();
    drawArray(array, differs);
    return differs;
  }

  return bundles;
}

// The state that an array is sorted by: that of most of its tasks.
function findMainState(rows) {
  const counts = countStates(rows);
  return [...counts].reduce((most, each) => (each[1] > most[1] ? each : most), ["", 0])[0];
}

// Count the jobs that rows stand for by their state, the most first.
export function countStates(rows) {
  const counts = new Map();
  for (const row of rows) counts.set(row.state, (counts.get(row.state) ?? 0) + countTasks(row));
  return new Map([...counts].sort((one, other) => other[1] - one[1]));
}
