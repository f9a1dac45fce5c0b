"""The code of the link that is printed: good once, and for an hour."""

from __future__ import annotations

from engine.callers.codes import CODE_S, Codes


def test_a_code_is_good_once() -> None:
    codes = Codes()
    code = codes.make()
    assert not codes.use(code[:-1]) and not codes.use("") and not codes.use(code + "x")
    assert codes.use(code), "wrong ones do not use it up"
    assert not codes.use(code)


def test_a_code_is_good_for_an_hour() -> None:
    now_s = 100.0
    codes = Codes(lambda: now_s)
    code = codes.make()
    now_s += CODE_S - 1
    assert codes.use(code)
    code = codes.make()
    now_s += CODE_S
    assert not codes.use(code)


def test_the_last_one_counts_and_none_is_kept() -> None:
    codes = Codes()
    assert not codes.use(""), "before there is one, nothing is right"
    first, second = codes.make(), codes.make()
    assert len(second) >= 32 and first != second
    assert not codes.use(first)
    assert second not in repr(vars(codes)), "only its hash"
    assert codes.use(second)
