// Texts that a new workflow may begin with.

const ONE = `name: NAME
description: One job

args:
  greeting: Hello

jobs:
  - name: hello
    command: echo {{ greeting }}
    resources:
      time_limit: 0:05:00
`;

const TWO = `name: NAME
description: The second job uses what the first one made

args:
  count: 3

jobs:
  - name: write
    command: seq {{ count }} > numbers.txt
    exports:
      file: numbers.txt

  - name: sum
    command: awk '{s += $1} END {print s}' {{ deps.write.file }}
    depends_on: [write]
`;

const SWEEP = `name: NAME
description: One run for each combination

args:
  lr: 0.1
  seed: 1

jobs:
  - name: train
    command: |
      echo "lr {{ lr }}, seed {{ seed }}"
      echo '{"loss": {{ lr * seed }}}' > $SLUICE_RESULT

sweep:
  matrix:
    lr: [0.001, 0.01, 0.1]
    seed: [1, 2, 3]
  max_parallel: 4
`;

export const START_TEXTS = {
  one: { title: "One job", text: ONE },
  two: { title: "Two jobs, one after the other", text: TWO },
  sweep: { title: "A sweep over two values", text: SWEEP },
  empty: { title: "An empty file", text: "" },
};
