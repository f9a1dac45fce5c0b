"""The files of samples: appended to, read back, removed a day at a time."""

from __future__ import annotations

from pathlib import Path

from store.disk.files import Files
from store.disk.samples import SampleFiles
from store.rules.monitoring.samples import DAY_S, Sample
from tests.pretended import asynchronous

DAY = 1_702_598_400.0  # 2023-12-15T00:00:00Z


@asynchronous
async def test_samples_are_read_back_and_removed_by_days(tmp_path: Path) -> None:
    kept = SampleFiles(tmp_path / "samples", Files(tmp_path))
    made = [Sample(DAY + at, "here", ended=number) for number, at in enumerate((-1.0, 0.0, 5.5, DAY_S))]
    for sample in made:
        await kept.append(sample)
    assert sorted(path.name for path in kept.folder.iterdir()) == [
        "2023-12-14.jsonl", "2023-12-15.jsonl", "2023-12-16.jsonl",
    ]  # fmt: skip
    with (kept.folder / "2023-12-15.jsonl").open("ab") as file:
        file.write(b'{"at": "torn')
    for name in ("notes.txt", "2023-99-99.jsonl"):
        (kept.folder / name).write_text("not ours")
    assert list(kept.load(0.0)) == made and list(kept.load(DAY)) == made[1:]
    await kept.remove_old(DAY + 10)
    assert list(kept.load(0.0)) == made[1:] and (kept.folder / "2023-99-99.jsonl").exists()
