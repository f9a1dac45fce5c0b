// Texts that a new workflow may begin with.

export const START_TEXTS = {
  one: {
    title: "One job",
    text: "name: NAME\ndescription: One job\n\nargs:\n  greeting: Hello\n\njobs:\n  - name: hello\n    command: echo {{ greeting }}\n    resources:\n      time_limit: 0:05:00\n",
  },
  two: {
    title: "Two jobs, one after the other",
    text: "name: NAME\ndescription: The second job uses what the first one made\n\nargs:\n  count: 3\n\njobs:\n  - name: write\n    command: seq {{ count }} > numbers.txt\n    exports:\n      file: numbers.txt\n\n  - name: sum\n    command: awk '{s += $1} END {print s}' {{ deps.write.file }}\n    depends_on: [write]\n",
  },
  sweep: {
    title: "A sweep over two values",
    text: "name: NAME\ndescription: One run for each combination\n\nargs:\n  lr: 0.1\n  seed: 1\n\njobs:\n  - name: train\n    command: |\n      echo \"lr {{ lr }}, seed {{ seed }}\"\n      echo '{\"loss\": {{ lr * seed }}}' > $SLUICE_RESULT\n\nsweep:\n  matrix:\n    lr: [0.001, 0.01, 0.1]\n    seed: [1, 2, 3]\n  max_parallel: 4\n",
  },
  empty: { title: "An empty file", text: "" },
};
