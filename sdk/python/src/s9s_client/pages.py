"""Pages of lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

Row = TypeVar("Row")


class Page(Sequence[Row], Generic[Row]):
    """One page of a list: a sequence that knows how many rows there are in all."""

    def __init__(self, rows: Sequence[Row], total: int, offset: int = 0, has_more: bool = False) -> None:
        self.rows, self.total, self.offset, self.has_more = list(rows), total, offset, has_more

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...
    def __getitem__(self, at: int | slice) -> Any:
        return self.rows[at]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"Page({self.rows!r}, total={self.total}, offset={self.offset}, has_more={self.has_more})"
