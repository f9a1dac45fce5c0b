"""Batch scripts: source, checks, and `#SBATCH` lines (sbatch(1))."""

from __future__ import annotations

import os
import sys

from .states import Refused

SEPARATORS = ("hetjob", "packjob")
# isspace(3) knows no others, such as the hard blanks of web pages.
BLANKS = " \t\n\v\f\r"
OLD_WORDS = {
    "#SLURM": "sbatch: error: Change from #SLURM to #SBATCH in your script and verify the options are valid in sbatch",
    "packjob": 'sbatch: Warning: the "packjob" component separator is being deprecated. Please, use "hetjob" instead.',
}
MAX_BYTES = 4 * 1024 * 1024
WRAPPING = "#!/bin/sh\n# This script was created by sbatch --wrap.\n\n"


def load_script(operands: list[str]) -> tuple[bytes, str | None]:
    """Load the script: its bytes and absolute path (None from stdin).

    Refused with sbatch's texts.
    """
    if not operands:
        return check_script(sys.stdin.buffer.read(MAX_BYTES + 1)), None
    path = _find_script(operands[0])
    if os.path.isdir(path):
        return check_script(b""), path
    try:
        with open(path, "rb") as file:
            return check_script(file.read(MAX_BYTES + 1)), os.path.abspath(path)
    except OSError as error:
        raise Refused(f"sbatch: error: Unable to open file {operands[0]}") from error


def wrap_command(command: str) -> bytes:
    """Wrap a --wrap command into a script."""
    return (WRAPPING + command + "\n").encode("utf-8", "surrogateescape")


def _find_script(name: str) -> str:
    """Find a script: a bare name is looked for here, then along PATH."""
    if "/" in name or os.path.exists(name):
        return name
    for folder in os.environ.get("PATH", "").split(":"):
        if os.access(os.path.join(folder, name), os.R_OK):
            return os.path.join(folder, name)
    return name


def check_script(text: bytes) -> bytes:
    """Check the script and return it.

    Refused when it is empty, no script, has DOS line ends or NULs, or is too big.
    """
    if not text:
        raise Refused("sbatch: error: Batch script is empty!")
    if not text.strip():
        raise Refused("sbatch: error: Batch script contains only whitespace!")
    if not text.startswith(b"#!"):
        raise Refused(
            [
                "sbatch: error: This does not look like a batch script.  The first",
                "sbatch: error: line must start with #! followed by the path to an interpreter.",
                "sbatch: error: For instance: #!/bin/sh",
            ]
        )
    if b"\0" in text:
        raise Refused(
            [
                "sbatch: error: The Slurm controller does not allow scripts that",
                "sbatch: error: contain a NULL character '\\0'.",
            ]
        )
    if b"\r\n" in text:
        raise Refused(
            [
                "sbatch: error: Batch script contains DOS line breaks (\\r\\n)",
                "sbatch: error: instead of expected UNIX line breaks (\\n).",
            ]
        )
    if len(text) > MAX_BYTES:
        raise Refused(
            "sbatch: error: Batch job submission failed: Pathname of a file, directory or other parameter too long"
        )
    return text


def read_directives(text: bytes, name: str = "stdin") -> list[list[str]]:
    """Read the words of all `#SBATCH` lines up to the first command.

    The words of all lines are one list: an option at a line's end takes its value from the next. A line that begins
    with `hetjob` begins another list, for the next part of a heterogeneous job. `name` is what sbatch calls the script
    when it refuses a line.
    """
    parts: list[list[str]] = [[]]
    old_words: set[str] = set()
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape")
        magic = next((magic for magic in ("#SBATCH", "#SLURM") if line.startswith(magic)), None)
        if magic is not None:
            try:
                words = split_line(line[len(magic) :])
            except ValueError as error:
                raise Refused(f"sbatch: fatal: {name}: line {number}: {error}") from error
            if words[:1] and words[0] in SEPARATORS:
                parts.append([])
                old_words |= {words[0]} - {"hetjob"}
            else:
                parts[-1] += words
            old_words |= {magic} - {"#SBATCH"}
        elif line.strip(BLANKS) and not line.lstrip(BLANKS).startswith("#"):
            break
    for word in sorted(old_words):
        print(OLD_WORDS[word], file=sys.stderr)
    return parts


def split_line(line: str) -> list[str]:
    """Split the rest of a `#SBATCH` line into words.

    An empty word ends the line, and so does a `#` outside of quotes, also within a word. A backslash takes the next
    letter as it is, also within quotes, but no blank outside of them. ValueError for a quote that is not closed, and
    for a word that begins with a colon.
    """
    words: list[str] = []
    end = _skip_blanks(line, 0)
    while not line.startswith(":", _skip_blanks(line, end)):
        word, after = _read_word(line, end)
        if not word:
            return words
        words.append(word)
        end = after
    raise ValueError(f"Unexpected `:` in [{line[end:]}]")


def _skip_blanks(line: str, at: int) -> int:
    while at < len(line) and line[at] in BLANKS:
        at += 1
    return at


def _read_word(line: str, start: int) -> tuple[str, int]:
    """Read the first word behind a place; return it and where it ends."""
    word, quote = "", ""
    at = _skip_blanks(line, start)
    while at < len(line) and (quote or line[at] not in BLANKS + "#"):
        letter = line[at]
        if letter == "\\":
            at += 1
            if not quote and at < len(line) and line[at] in BLANKS:
                break
            word += line[at : at + 1]
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        else:
            word += letter
        at += 1
    if quote:
        raise ValueError(f"Unmatched `{quote}` in [{line[start:]}]")
    return word, at
