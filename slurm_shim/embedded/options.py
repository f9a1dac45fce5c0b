"""Command lines as getopt_long(3) reads them: abbreviated long options, `-pVALUE`, `-hH`, `--`, and its error texts."""

from __future__ import annotations

from .states import Refused

NONE, REQUIRED, OPTIONAL = 0, 1, 2


class Options:
    """A table of options. Each entry is `long[/short][=|?]`: `=` takes a value, `?` may take one (`--x=v` only)."""

    def __init__(self, program: str, table: str, error_code: int = 1) -> None:
        self.program, self.error_code = program, error_code
        self.long: dict[str, int] = {}
        self.short: dict[str, str] = {}
        for entry in table.split():
            kind = {"=": REQUIRED, "?": OPTIONAL}.get(entry[-1], NONE)
            long, _, short = entry.rstrip("=?").partition("/")
            self.long[long] = kind
            for letter in short:
                self.short[letter] = long

    def parse(self, argv: list[str], permute: bool) -> tuple[list[tuple[str, str | None]], list[str]]:
        """The options in order (long name, value or None) and the operands.

        With `permute` options may follow operands; else the first operand ends the options (sbatch, srun).
        Refused with getopt's text.
        """
        found: list[tuple[str, str | None]] = []
        operands: list[str] = []
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return found, operands + rest
            if word.startswith("--"):
                found.append(self._long(word[2:], rest))
            elif word.startswith("-") and word != "-":
                found += self._letters(word[1:], rest)
            elif permute:
                operands.append(word)
            else:
                return found, [word, *rest]
        return found, operands

    def _long(self, word: str, rest: list[str]) -> tuple[str, str | None]:
        given, equals, value = word.partition("=")
        name = self._resolve(given, word)
        kind = self.long[name]
        if equals and kind == NONE:
            raise self._refused(f"option '--{name}' doesn't allow an argument")
        if kind == REQUIRED and not equals:
            if not rest:
                raise self._refused(f"option '--{name}' requires an argument")
            return name, rest.pop(0)
        return name, value if equals else None

    def _resolve(self, given: str, word: str) -> str:
        if given in self.long:
            return given
        near = [name for name in self.long if name.startswith(given)]
        if not near:
            raise self._refused(f"unrecognized option '--{word}'")
        if len(near) > 1:
            names = " ".join(f"'--{name}'" for name in near)
            raise self._refused(f"option '--{word}' is ambiguous; possibilities: {names}")
        return near[0]

    def _letters(self, word: str, rest: list[str]) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        for index, letter in enumerate(word):
            if letter not in self.short:
                raise self._refused(f"invalid option -- '{letter}'")
            name = self.short[letter]
            tail = word[index + 1 :]
            if self.long[name] == NONE:
                found.append((name, None))
                continue
            if self.long[name] == OPTIONAL:
                return [*found, (name, tail or None)]
            if not tail and not rest:
                raise self._refused(f"option requires an argument -- '{letter}'")
            return [*found, (name, tail or rest.pop(0))]
        return found

    def _refused(self, text: str) -> Refused:
        hint = f'Try "{self.program} --help" for more information'
        return Refused([f"{self.program}: {text}", hint], self.error_code)
