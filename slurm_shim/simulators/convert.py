"""Turn what a simulator leaves into files of estimators (pages.py).

They lie in the task's folder `pages/`.

    form: pages                     JSON files as pages.py describes, in lines or not
    form: convertmc                 binary files of SHIELD-HIT12A and FLUKA, read by pymchelper
    form: geant4_csv, topas_csv     tables (tables.py)
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set

if __package__:
    from . import pages, tables
else:  # plain files on a cluster
    import pages  # type: ignore[import-not-found,no-redef]
    import tables  # type: ignore[import-not-found,no-redef]

# How SHIELD-HIT12A says that pages of several tasks are put together (page_normalized).
MERGED_BY = {"0": "first", "1": "sum", "2": "mean", "3": "mean", "4": "concatenate"}
FLUKA = "fluka_binary"
# What stands in pymchelper's objects beside metadata.
NO_METADATA = {"data_raw", "error_raw", "estimator", "diff_axis1", "diff_axis2", "pages", "x", "y", "z"}


class NoResults(Exception):
    """There is nothing to read, or it cannot be read."""


class NoReader(NoResults):
    """The files need pymchelper, which this Python does not have."""


def clean_name(name: str) -> str:
    """Make a name that a file can have.

    >>> clean_name("dose/water"), clean_name(".x"), clean_name("")
    ('dose_water', '_x', '_')
    """
    cleaned = re.sub(r"^\.|[/\x00-\x1f\x7f\ud800-\udfff]", "_", name) or "_"
    return cleaned.encode()[:190].decode(errors="ignore")


def convert_results(results: Dict[str, Any], folder: Path, inputs: Set[str], primaries: int) -> List[Path]:
    """Convert the results of the task in this folder; return new files.

    Files of the input are no results, whatever they are called.
    """
    found = {path for pattern in results["files"] for path in folder.glob(pattern) if path.is_file()}
    found = {path for path in found if str(path.relative_to(folder)) not in inputs}
    if not found:
        raise NoResults(f"there is no result: no file is named {' or '.join(results['files'])}")
    target, unfinished = folder / "pages", folder / ".pages"
    for path in (target, unfinished):
        shutil.rmtree(str(path), ignore_errors=True)
    unfinished.mkdir()
    for path in sorted(found):
        try:
            convert_file(results["form"], path, unfinished, primaries)
        except NoReader:
            raise
        except Exception as error:  # whatever a reader says of a broken file
            reason = str(error) or type(error).__name__
            raise NoResults(f"{path.relative_to(folder)} cannot be read: {reason}") from error
    unfinished.rename(target)
    return sorted(target.iterdir())


def convert_file(form: str, path: Path, folder: Path, primaries: int) -> None:
    """Convert one file."""
    if form == "pages":
        convert_json(path, folder)
    elif form == "convertmc":
        convert_binary(path, folder)
    else:
        read = tables.read_geant4 if form == "geant4_csv" else tables.read_topas
        found = read(path.read_text(encoding="utf-8", errors="replace"), primaries)
        write_estimator(folder, path.stem, {"metadata": {"file_format": form}, "pages": found})


def convert_json(path: Path, folder: Path) -> None:
    """Bring a JSON file of estimators into lines, or link one that is so."""
    try:
        reader = pages.PagesReader(path)
    except pages.UnreadablePages:
        estimator = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(estimator, dict) or not isinstance(estimator.get("pages"), list):
            raise NoResults("it is no estimator with pages") from None
        write_estimator(folder, str(estimator.get("name") or path.stem), estimator)
        return
    reader.close()
    target = folder / f"{clean_name(reader.name or path.stem)}.json"
    refuse_second(target)
    try:
        os.link(str(path), str(target))
    except OSError:  # not on every file system
        shutil.copyfile(str(path), str(target))


def find_reader() -> Optional[Callable[[str], Any]]:
    """Find pymchelper's reader; None where it is not installed."""
    try:
        from pymchelper.input_output import fromfile
    except ImportError:
        return None
    return fromfile


def convert_binary(path: Path, folder: Path) -> None:
    """Read a bdo or fort file by pymchelper."""
    read = find_reader()
    if read is None:
        raise NoReader("pymchelper is not installed for this Python (pip install pymchelper)")
    estimator = read(str(path))
    if estimator is None:
        raise NoResults("pymchelper finds nothing in it")
    metadata = describe_object(estimator)
    found = [describe_page(page, number, str(estimator.file_format)) for number, page in enumerate(estimator.pages)]
    write_estimator(folder, name_estimator(path), {"metadata": metadata, "pages": found})


def name_estimator(path: Path) -> str:
    """Name the estimator of a binary file, without the number of the task.

    >>> [name_estimator(Path(name)) for name in ("dose_0007.bdo", "dose.bdo", "beam001_fort.21")]
    ['dose', 'dose', 'beam_fort.21']
    """
    if path.suffix in (".bdo", ".bdox"):
        return re.sub(r"(?<=.)_*\d{4}$", "", path.stem)
    return re.sub(r"\d{3}(?=_fort\.)", "", path.name)


def describe_object(thing: Any) -> Dict[str, str]:
    """Describe an object of pymchelper by its plain fields, as text."""
    return {name: str(value).replace('"', "") for name, value in vars(thing).items() if name not in NO_METADATA}


def describe_page(page: Any, number: int, file_format: str) -> Dict[str, Any]:
    """Describe a page of pymchelper as the API shows it."""
    metadata = describe_object(page)
    metadata.setdefault("page_number", str(number))
    metadata["data_order"] = str(page.data_order)
    if metadata.get("page_normalized") in MERGED_BY:
        metadata["merge"] = MERGED_BY[metadata["page_normalized"]]
    values = page.data_raw.ravel().tolist()
    axes = [page.plot_axis(number) for number in range(page.dimension)]
    bins = 1
    for axis in axes:
        bins *= int(axis.n)
    described: Dict[str, Any] = {"dimensions": len(axes), "metadata": metadata}
    for number, axis in enumerate(axes, 1):
        described[f"axis_dim{number}"] = build_axis(str(axis.name), str(axis.unit), axis.data.tolist())
    if metadata.get("merge") == "concatenate" or (bins != len(values) and file_format == FLUKA):
        # A list of particles; or one of several meshes in a file of FLUKA, whose bins pymchelper mixes up.
        described = {"dimensions": 1, "metadata": metadata}
        described["axis_dim1"] = build_axis("Number", "", [] if "merge" in metadata else list(range(len(values))))
    elif bins != len(values):
        raise NoResults(f"a page has {len(values)} values for {bins} bins")
    described["data"] = {"name": str(page.name), "unit": str(page.unit), "values": values}
    return described


def build_axis(name: str, unit: str, values: List[Any]) -> Dict[str, Any]:
    """Build an axis with the middle of each bin."""
    return {"name": name, "unit": unit, "values": values}


def write_estimator(folder: Path, name: str, estimator: Dict[str, Any]) -> None:
    """Write the estimator in lines; refuse what has not the form."""
    target = folder / f"{clean_name(name)}.json"
    refuse_second(target)
    with pages.PagesWriter(target, name, dict(estimator.get("metadata") or {})) as writer:
        for page in estimator["pages"]:
            if "values" not in page["data"]:
                raise NoResults("a page has no values")
            writer.write_page(page)


def refuse_second(path: Path) -> None:
    """Refuse a second estimator of the same name."""
    if path.exists():
        raise NoResults(f"two estimators have the name {path.stem}")
