# Sluice: what a developer runs. `just` alone lists the recipes.

set positional-arguments
set shell := ["bash", "-euo", "pipefail", "-c"]

python := ".venv/bin/python"
# Several files at once, in the order that tests/conftest.py puts them in.
beside := "--dist loadfile --no-loadscope-reorder"
outside := "slurm or ssh or browser or install or proxy or clients or fuzz"

[private]
@default:
    "{{ just_executable() }}" --list --unsorted

# Serve on http://127.0.0.1:8000 over the store in ./data; on the embedded cluster where no SLURM answers
[no-exit-message]
launch *flags: (_env "launch")
    @exec {{ python }} -m app "$@"

# Every test that needs nothing but Python; `just test -k guard` picks some
test *args: (_env "dev")
    @{{ python }} -m pytest -n 3 {{ beside }} -m "not ({{ outside }}{{ if env("CI", "") == "true" { "" } else { " or long" } }})" "$@"

# The tests that take long, which `just test` leaves to CI
test-long *args: (_env "dev")
    @{{ python }} -m pytest -n 3 {{ beside }} -m "long and not ({{ outside }})" "$@"

# The tests against a whole real SLURM that is started for them (Debian packages are installed where they are missing)
test-slurm *args: (_env "dev")
    @{{ python }} -m pytest -m slurm "$@"

# The tests over a real sshd on loopback, started for them with keys of their own
test-ssh *args: (_env "dev")
    @{{ python }} -m pytest -m ssh "$@"

# What a person would see, in a headless browser
test-browser *args: (_env "dev")
    @{{ python }} -m pytest -n 2 {{ beside }} -m browser "$@"

# The reverse proxies of docs/operating.md in front of a server (nginx and Caddy)
test-proxy *args: (_env "dev")
    @{{ python }} -m pytest -m proxy "$@"

# Clients that are made from the contract, and those of sdk/, against a server (packages come from npm; Go is Debian's)
test-clients *args: (_env "dev")
    @{{ python }} -m pytest -m clients "$@"

# The wheel, built, installed and run in an empty folder
test-install *args: (_env "dev")
    @{{ python }} -m pytest -m install "$@"

# What needs more than Python, all at once, with the fuzzer beside it
[no-exit-message]
test-outside *args: (_env "dev")
    @{{ python }} -m pytest -n 4 {{ beside }} -m "{{ outside }}" "$@"

# Fuzz the whole contract with new random data; `just fuzz --hypothesis-seed=1` repeats
fuzz *args: (_env "dev")
    @{{ python }} -m pytest -m fuzz "$@"

# Make the pictures of the README anew, in a headless browser
screenshots *args: (_env "dev")
    @{{ python }} -m tests.page.pictures "$@"

# Speed: ours, the bare thing beside it, their ratio and the target; `just bench ROW --check` judges one, `--list` tells them, `page` is in a headless browser
bench *args: (_env "dev")
    @{{ python }} -m tests.bench "$@"

# Use a server in every way at once while it is killed at random, and tell what went wrong; `just soak 30 --seed 1` repeats
soak *args: (_env "dev")
    @{{ python }} -m tests.soak "$@"

# Style, mistakes and types
lint: (_env "dev")
    @{{ python }} -m ruff check .
    @{{ python }} -m ruff format --check .
    @{{ python }} -m mypy

# Known vulnerabilities of the pinned packages, where advisories can be reached
audit: (_env "dev")
    @{{ python }} -m tests.audit

# Make the low level of the clients in sdk/ from the contract (`just sdk python` or `just sdk js` makes one)
sdk *parts: (_env "dev")
    @{{ python }} sdk/make.py "$@"

# Tokens, API keys and OAuth clients in access.yaml: `just token create NAME --scope read`, `just token list`, `just token revoke NAME`
[no-exit-message]
token *args: (_env "launch")
    @{{ python }} app.py token "$@"

# Users of the YAPTIDE API: `just user set NAME`, with --batch yes for one who may use clusters, and `just user list`
[no-exit-message]
user *args: (_env "launch")
    @{{ python }} app.py user "$@"

# Every operation: its id, method and path
routes: (_env "launch")
    @{{ python }} app.py routes

# Start a real SLURM with accounting and pretended GPUs in a temporary folder, and print its environment
cluster-up folder="/tmp/sluice-slurm": (_env "dev")
    @{{ python }} tests/cluster/real.py up "{{ folder }}"

# End the real SLURM that cluster-up started
cluster-down folder="/tmp/sluice-slurm": (_env "dev")
    @{{ python }} tests/cluster/real.py down "{{ folder }}"

# Write down the versions that are installed now, so that everybody gets the same
pin: (_env "dev")
    @{{ python }} -m pip freeze --exclude-editable --exclude pip --exclude setuptools > constraints.txt

# Make the virtual environment, or bring it up to date when the dependencies changed
[private]
_env kind:
    #!/usr/bin/env bash
    set -euo pipefail
    wanted=$(cat pyproject.toml constraints.txt | sha256sum)
    for have in .venv/.sluice-{{ kind }} .venv/.sluice-dev; do
        if [ "$(cat "$have" 2>/dev/null)" = "$wanted" ]; then exit 0; fi
    done
    [ -x {{ python }} ] || python3 -m venv .venv
    {{ python }} -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".{{ if kind == 'dev' { '[dev]' } else { '[reports]' } }}"
    echo "$wanted" > .venv/.sluice-{{ kind }}
