"""What of a run folder is damaged or missing, and what makes it anew: `seewhy check RUN`.

Every byte of every file with a checksum is read; no digest is taken from the user's cache.

    checked = verify("runs/birds")
    [finding.file for finding in checked.findings]
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.domain.domain import VOCABULARY_FILE
from seewhy.domain.image_index import IMAGES_FILE
from seewhy.errors import SeeWhyError
from seewhy.results import Confusion, Gallery, Gate, Metrics, Support
from seewhy.run.checksums import SUMS, broken, is_whole
from seewhy.run.folder import read_manifest
from seewhy.run.progress import progress
from seewhy.run.shards import SHARD
from seewhy.run.storage import inside, refuse_links

SEALED = {".json", ".yaml", ".html", ".parquet"}
"""Endings of files that SeeWhy seals."""
NEXT_START = "start the run again: it is made anew"
DELETE = f"delete it, then {NEXT_START}"
COMMAND = "delete it: the command that wrote it (run, evaluate, report, judge, ...) writes it anew"


@dataclass(frozen=True)
class Damage:
    """A file of a run folder that is not as it was written."""

    file: str
    fault: str
    remedy: str


@dataclass(frozen=True)
class RunCheck:
    """What a run folder holds: damaged or missing files, and numbers of the others."""

    run: str
    findings: tuple[Damage, ...]
    whole: int
    """Files whose checksum is right."""
    older: tuple[str, ...]
    """Files of a version without checksums: they are read, and cannot be verified."""
    unfinished: tuple[str, ...]
    """Stages that are not complete; the next start goes on with them."""


def verify(run: str | Path) -> RunCheck:
    """Read every file of a run folder that has a checksum. Raises SeeWhyError where there is no run."""
    path = Path(run)
    if not path.is_dir():
        raise SeeWhyError(f"There is no run folder {path}.")
    refuse_links(path)
    try:
        manifest = read_manifest(path)
    except SeeWhyError as error:
        finding = Damage("manifest.json", "is damaged", str(error).partition("). ")[2])
        return RunCheck(str(run), (finding,), 0, (), ())
    if not manifest:
        raise SeeWhyError(f"{path} is no run folder: it has no manifest.json. Start the run again if it was one.")
    stages: Mapping[str, Any] = manifest.get("stages", {})
    gone = [Damage(name, "is missing", NEXT_START) for name in missing_results(path, manifest)]
    found = [*_missing_shards(path, stages), *_missing_sums(path, stages), *gone]
    files = sorted(file for file in path.rglob("*") if file.is_file() and ".partial" not in file.name)
    folders = [file.parent for file in files if file.name == SUMS]
    whole, older = 0, list[str]()
    with progress("verifying", total=len(files), done=0) as advance:
        for folder in folders:
            whole += sum(file.is_relative_to(folder) for file in files)
            for name, fault in broken(folder, cached=False):
                whole -= name != SUMS and (folder / name).is_file()
                place = (folder / name).relative_to(path).as_posix()
                shown = folder.relative_to(path).as_posix()
                found.append(Damage(place, fault, f"delete the folder {shown}, then {NEXT_START}"))
        for file in files:
            advance(1)
            if any(file.is_relative_to(folder) for folder in folders) or file.suffix not in SEALED:
                continue
            name = file.relative_to(path).as_posix()
            state = is_whole(file.read_bytes())
            if state is False:
                remedy = DELETE if name.startswith("stages/") else COMMAND
                found.append(Damage(name, "is damaged: its bytes are not those that were written", remedy))
            elif state is None and _is_unreadable(file):
                found.append(Damage(name, "is damaged: it is not whole", DELETE))
            elif state is None:
                older.append(name)
            else:
                whole += 1
    return RunCheck(str(run), tuple(found), whole, tuple(older), tuple(_begun(path, stages)))


def missing_results(path: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the results at the top of a run folder that are gone, since others that are written with them are there.
    None of a version without checksums, which wrote fewer."""
    together, config = [Metrics.FILE, Gallery.FILE, Confusion.FILE], manifest.get("config") or {}
    sealed = any(is_whole((path / name).read_bytes()) for name in together if (path / name).is_file())
    if sealed and not manifest:
        return ["manifest.json"]
    if not sealed or "keep_going" not in config:
        return []
    expected = [*together, Support.FILE, VOCABULARY_FILE, IMAGES_FILE, "config.yaml"]
    gated = re.compile(r"round-\d+/predictions-val")
    on_val = any(entry["complete"] for name, entry in manifest.get("stages", {}).items() if gated.fullmatch(name))
    if on_val and not config["keep_going"]:
        expected.append(Gate.FILE)
    return [name for name in expected if not (path / name).exists()]


def _is_unreadable(file: Path) -> bool:
    """Return whether a file without a checksum is not even of the kind that its name says."""
    try:
        if file.suffix == ".json":
            json.loads(file.read_bytes())
        elif file.suffix == ".parquet":
            pq.read_metadata(file)
    except (OSError, ValueError, RecursionError, pa.ArrowException):
        return True
    return False


def _begun(path: Path, stages: Mapping[str, Any]) -> Iterator[str]:
    """Yield the stages that have shards, or half a folder, and are not complete."""
    for name, entry in stages.items():
        place = inside(path, f"stages/{name}")
        if not entry["complete"] and (
            place.with_name(f"{place.name}.partial").exists() or any(place.glob("*.parquet"))
        ):
            yield name


def _missing_shards(path: Path, stages: Mapping[str, Any]) -> Iterator[Damage]:
    for name, entry in stages.items():
        for number in range(entry["shards"] or 0 if entry["complete"] else 0):
            if not inside(path, f"stages/{name}/{SHARD.format(number)}").is_file():
                yield Damage(f"stages/{name}/{SHARD.format(number)}", "is missing", NEXT_START)


def _missing_sums(path: Path, stages: Mapping[str, Any]) -> Iterator[Damage]:
    """Yield the folders of finished stages, such as models, that are gone, or whose list of checksums is."""
    for name, entry in stages.items():
        place = inside(path, f"stages/{name}")
        if not entry["complete"] or entry["shards"] is not None or (place / SUMS).is_file():
            continue
        if not place.exists():
            yield Damage(f"stages/{name}", "is missing", NEXT_START)
        elif entry.get("sums"):
            yield Damage(f"stages/{name}/{SUMS}", "is missing", f"delete the folder stages/{name}, then {NEXT_START}")
