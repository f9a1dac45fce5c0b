"""Packed documents: what was packed comes back, and documents that are alike take little room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.disk.compression import Packer, Packing
from store.documents import to_json
from tests.store.disk.archive_samples import a_run


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=12))
def test_packed_is_unpacked_again(documents: list[bytes]) -> None:
    packer = Packer()
    packed = [(way := packer.choose_packing(document), way.pack(document)) for document in documents]
    assert [way.unpack(data) for way, data in packed] == documents
    other = Packing(packer.packing.dictionary)
    assert other.unpack(packer.packing.pack(documents[0])) == documents[0], "after a restart"


def test_documents_of_one_folder_are_packed_small() -> None:
    packer = Packer()
    documents = [to_json(a_run(f"run-{n}", n)) for n in range(20)]
    sizes = [len(packer.choose_packing(document).pack(document)) for document in documents]
    assert sizes[-1] < sizes[0] / 3
