"""Command lines as getopt_long(3) reads them.

Abbreviated long options, `-pVALUE`, `-hH`, `--`, and its error texts.
"""

from __future__ import annotations

from ..conf import VERSION
from ..states import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NONE, REQUIRED, OPTIONAL = 0, 1, 2
SILENT = ("sacct", "sstat")  # they do not point to their --help


class Options:
    """A table of options.

    Each entry is `long[/short][=|?]`: `=` takes a value, `?` may take one (`--x=v` only).

    `honoured` options reach the program; those `without_effect` are accepted and dropped, because they ask for what is
    so on this cluster anyway. `same` names options by another name. Everything else is refused as unknown.
    """

    def __init__(
        self, program: str, honoured: str, error_code: int = 1, without_effect: str = "",
        same: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.program, self.error_code, self.same = program, error_code, same or {}
        self.long: dict[str, int] = {}
        self.short: dict[str, str] = {}
        self._add_table(honoured)
        self.honoured = frozenset(self.long)
        self._add_table(without_effect)
        self.without_effect = frozenset(self.long) - self.honoured

    def _add_table(self, table: str) -> None:
        for entry in table.split():
            kind = {"=": REQUIRED, "?": OPTIONAL}.get(entry[-1], NONE)
            long, _, short = entry.rstrip("=?").partition("/")
            self.long[long] = kind
            for letter in short:
                self.short[letter] = long

    def gather(self, argv: list[str], permute: bool = True) -> tuple[dict[str, Any], list[str]]:
        """Return the honoured options given, and the operands.

        Options: long name -> value, True without one; the last one wins.

        --version and --help are answered here: they end the program with status 0.
        """
        found, operands = self.parse(argv, permute)
        asked: dict[str, Any] = {}
        for name, value in found:
            if name == "version":
                print(f"slurm-wlm {VERSION}")
                raise Refused([], 0)
            if name in ("help", "usage"):
                print(self.format_help())
                raise Refused([], 0)
            if name in self.honoured:
                asked[self.same.get(name, name)] = value if value is not None else True
        return asked, operands

    def format_help(self, but: Sequence[str] = ()) -> str:
        """Format all options that are understood, one a line.

        Those in `but` are left out.
        """
        letters = {long: letter for letter, long in self.short.items()}
        lines = [f"Usage: {self.program} [OPTIONS...]"]
        for name, kind in self.long.items():
            if name in but:
                continue
            short = f"-{letters[name]}, " if name in letters else "    "
            value = {NONE: "", REQUIRED: "=VALUE", OPTIONAL: "[=VALUE]"}[kind]
            note = "  (without effect on this cluster)" if name in self.without_effect else ""
            lines.append(f"  {short}--{name}{value}{note}")
        return "\n".join(lines)

    def parse(self, argv: list[str], permute: bool) -> tuple[list[tuple[str, str | None]], list[str]]:
        """Parse to options in order (long name, value or None) and operands.

        With `permute` options may follow operands; else the first operand ends the options (sbatch, srun).
        Refused with getopt's text.
        """
        found: list[tuple[str, str | None]] = []
        operands: list[str] = []
        rest = argv[::-1]
        while rest:
            word = rest.pop()
            if word == "--":
                return found, [*operands, *reversed(rest)]
            if word.startswith("-") and word != "-":
                found += self.parse_word(word, rest)
            elif permute:
                operands.append(word)
            else:
                return found, [word, *reversed(rest)]
        return found, operands

    def parse_word(self, word: str, rest: list[str]) -> list[tuple[str, str | None]]:
        """Parse a word that begins with a dash; take its value off `rest`.

        `rest` are the words behind it, the last one first. Refused with getopt's text.
        """
        return [self._parse_long(word[2:], rest)] if word.startswith("--") else self._parse_letters(word[1:], rest)

    def _parse_long(self, word: str, rest: list[str]) -> tuple[str, str | None]:
        given, equals, value = word.partition("=")
        name = self._resolve_name(given, word)
        kind = self.long[name]
        if equals and kind == NONE:
            raise self._make_refusal(f"option '--{name}' doesn't allow an argument")
        if kind == REQUIRED and not equals:
            if not rest:
                raise self._make_refusal(f"option '--{name}' requires an argument")
            return name, rest.pop()
        return name, value if equals else None

    def _resolve_name(self, given: str, word: str) -> str:
        if given in self.long:
            return given
        near = [name for name in self.long if name.startswith(given)]
        if not near:
            raise self._make_refusal(f"unrecognized option '--{word}'")
        if len({self.same.get(name, name) for name in near}) > 1:
            names = " ".join(f"'--{name}'" for name in near)
            raise self._make_refusal(f"option '--{word}' is ambiguous; possibilities: {names}")
        return near[0]

    def _parse_letters(self, word: str, rest: list[str]) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        for index, letter in enumerate(word):
            if letter not in self.short:
                raise self._make_refusal(f"invalid option -- '{letter}'")
            name = self.short[letter]
            if self.long[name] == NONE:
                found.append((name, None))
                continue
            tail = word[index + 1 :]
            if self.long[name] == OPTIONAL:
                return [*found, (name, tail or None)]
            if not tail and not rest:
                raise self._make_refusal(f"option requires an argument -- '{letter}'")
            return [*found, (name, tail or rest.pop())]
        return found

    def _make_refusal(self, text: str) -> Refused:
        hints = [f'Try "{self.program} --help" for more information']
        return Refused([f"{self.program}: {text}", *(hints if self.program not in SILENT else ())], self.error_code)


def check_cluster(program: str, conf: dict[str, Any], wanted: str | None, variable: str = "--cluster") -> None:
    """Refuse any cluster but this one, in SLURM's words.

    Every program but sacct says it so.
    """
    if wanted and wanted not in (conf["cluster"], "all"):
        problem = f"'{wanted}' can't be reached now, or it is an invalid entry for {variable}."
        advice = "Use 'sacctmgr list clusters' to see available clusters."
        head = f"{program}: error: "
        raise Refused([f"{head}No cluster '{wanted}' known by database.", f"{head}{problem}  {advice}"])
