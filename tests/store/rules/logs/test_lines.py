"""Lines as they are sent: whole, or their two ends."""

from __future__ import annotations

import pytest

from store.rules.logs.lines import ENDS_BYTES, WHOLE_BYTES, Line, show_line


@pytest.mark.parametrize("text", ["", "short", "é" * (WHOLE_BYTES // 2), "x" * WHOLE_BYTES])
def test_a_line_is_sent_whole(text: str) -> None:
    data = text.encode()
    line = show_line(Line(5, 5 + len(data), data))
    assert line == {"offset": 5, "size_bytes": len(data), "text": text, "end": None, "left_out_bytes": 0}


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_long_line_is_cut_between_characters(letter: str, shift: int) -> None:
    data = (" " * shift + letter * WHOLE_BYTES + ".").encode()
    line = show_line(Line(0, len(data), data))
    assert "\N{REPLACEMENT CHARACTER}" not in line["text"] + line["end"]
    assert len(line["text"].encode()) > ENDS_BYTES - 4 and len(line["end"].encode()) > ENDS_BYTES - 4
    assert len((line["text"] + line["end"]).encode()) + line["left_out_bytes"] == len(data)
