"""The folder of a run: what is finished stays, so a killed run goes on and ends with the bytes of one never killed.

A run is a chain of stages (see `loop.py`). A stage writes records, as Parquet shards whose items and seeds are fixed
before any work starts, or it makes a folder, such as a model. The layout:

    manifest.json                        config, versions, and each stage's fingerprint, settings and inputs
    stages/describe/shard-00000.parquet  one shard of a stage's records, with a checksum of its own bytes
    stages/round-1/model/                the folder of a stage; `model.partial/` until it is complete
    stages/round-1/model/SHA256SUMS      the checksums of its files, which are verified before it is used
    discarded/1/stages/...               outputs that `discard_stale` moved aside: all of them or none
    images.parquet                       what the images held when they were last decoded (`domain/image_index.py`)
    events.jsonl                         when each piece was made: with images.parquet all whose bytes depend on time

Everything else is written under a `.partial` name, flushed to disk and renamed, so no unfinished file has a final name.
A stage's records are always read back from its shards, so a resumed run sees what an uninterrupted one sees. Before
outputs are moved aside their list is written; a list that is still there was left by a killed process, and the next one
moves back what is on it.

    folder = RunFolder("runs/birds", seed=0, shard_size=64)
    describe = Stage("describe", {"describe": asdict(config.describe)})
    with folder.lock():
        folder.check([describe, ...])
        descriptions = folder.records(describe, Description, examples, work)
"""

import json
import platform
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from seewhy.errors import SeeWhyError
from seewhy.run.checksums import (
    KEY,
    SUMS,
    UNSEALED,
    check_folder,
    made_from,
    seal,
    sealed_json,
    unsealed_json,
    write_sums,
)
from seewhy.run.lock import Held, locked
from seewhy.run.progress import progress, say
from seewhy.run.records import Records
from seewhy.run.shards import SHARD, Identified, Shards
from seewhy.run.staleness import Stage, changes, check_form, reasons, unchanged, versions_of
from seewhy.run.storage import decode_shard, digest, disk, inside, shard_origin, sync, write_atomically
from seewhy.run.workers import ThisProcess, Workers

PLACE = "discarded"
MOVES = "moving.txt"
"""File in discarded/N that lists, as JSON, what is being moved there, while it is."""


def set_aside(folder: Path, paths: Sequence[Path], copied: Path) -> Path:
    """Move paths below the run folder to a new folder in discarded/, with a copy of `copied`; return the folder."""
    aside = inside(folder, PLACE)
    used = [int(path.name) for path in aside.glob("[0-9]*") if path.name.isdecimal()]
    target = aside / str(max(used, default=0) + 1)
    leaves_first = sorted(set(paths), key=lambda path: (-len(path.parts), path))
    moves = [path.relative_to(folder).as_posix() for path in leaves_first]
    with disk(target):
        target.mkdir(parents=True)
        write_atomically(target / MOVES, json.dumps(moves).encode())
        try:
            for name in moves:
                _move(folder / name, target / name)
            if copied.exists():
                write_atomically(target / copied.name, copied.read_bytes())
        except BaseException:
            undo_half(folder)
            raise
        (target / MOVES).unlink()
        sync(target)
    return target


def undo_half(folder: Path) -> None:
    """Move back the outputs of a `set_aside` that was interrupted."""
    for listed in sorted(inside(folder, PLACE).glob(f"*/{MOVES}*")):  # half a list: nothing has been moved yet
        target = inside(folder, listed.parent.relative_to(folder).as_posix())
        for name in reversed(_read(listed) if listed.name == MOVES else []):
            there, back = inside(target, name), inside(folder, name)
            if there.exists():
                _move(there, back)
        shutil.rmtree(target)


def only_leads_to(folder: Path, places: Collection[Path]) -> bool:
    """Return whether a folder holds only some of these places (or partial ones) and the folders that lead to them."""
    return bool(places) and all(
        path.with_name(path.name.removesuffix(".partial")) in places
        or (path.is_dir() and not path.is_symlink() and only_leads_to(path, places))
        for path in folder.iterdir()
    )


def _read(listed: Path) -> list[str]:
    try:
        names = json.loads(listed.read_bytes())
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SeeWhyError(f"{listed} is damaged: move what {listed.parent} holds to where it was, and delete it.")
    return names


def _move(path: Path, there: Path) -> None:
    """Rename a file or folder; where the target folder exists, move the content into it."""
    there.parent.mkdir(parents=True, exist_ok=True)
    if not (path.is_dir() and there.is_dir()):
        path.rename(there)
        return
    for inner in sorted(path.iterdir()):
        _move(inner, there / inner.name)
    path.rmdir()


MADE_ANEW = "Delete the folder {folder} and start the run again: it is made anew."

R = TypeVar("R")
T = TypeVar("T", bound=str | Identified)


class RunFolder:
    """The outputs of a run's stages on disk. Call `check` under `lock` before any other work."""

    is_own = True
    """Whether this process drives the run, and so writes more to the folder than shards."""

    def __init__(self, path: str | Path, *, seed: int, shard_size: int, workers: Workers | None = None) -> None:
        if shard_size < 1:
            raise SeeWhyError(f"shard_size is {shard_size}, but a shard holds at least 1 example.")
        self.path = Path(path)
        self.seed = seed
        self.shard_size = shard_size
        self.workers = workers or ThisProcess()
        self._manifest: dict[str, Any] = {}
        self._held: Held | None = None
        self._aside: Path | None = None
        """The folder in discarded/ that this process has begun."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out, of this and other machines. The lock ends with this process, however it ends."""
        with locked(self.path) as self._held:
            try:
                yield
            except OSError:  # of a file that was there a moment ago, where the folder was moved meanwhile
                self._held.check()
                raise
            finally:
                self._held = None

    def check_held(self) -> None:
        """Raise SeeWhyError where the folder was moved, or its lock deleted, under this process, which must not write
        then."""
        if self._held is not None:
            self._held.check()

    def check(
        self, stages: Sequence[Stage], *, config: Mapping[str, Any] | None = None, discard_stale: bool = False
    ) -> None:
        """Announce the stages of this run and compare them with what the folder holds. `config` is for the manifest.

        Recorded stages that are not among `stages` stay as they are, unless something they were made from is stale.
        Raises SeeWhyError when outputs were made with other settings; with `discard_stale` they move aside instead.
        """
        undo_half(self.path)
        manifest = read_manifest(self.path)
        by_name = {stage.name: stage for stage in stages}
        plan = {name: self._entry(stage) for name, stage in by_name.items()}
        recorded: dict[str, Any] = manifest.get("stages", {})
        held = {name for name in [*plan, *recorded] if self._outputs(name, {*plan, *recorded})}
        if not recorded:  # a lost manifest: outputs say themselves what they were made from
            recorded = {n: plan[n] for n in plan if n not in held or self._says_of_itself(n) == plan[n]["fingerprint"]}
        same = unchanged(by_name, plan, recorded)
        changed = (recorded.keys() | held) & plan.keys() - same
        others = {name: entry for name, entry in recorded.items() if name not in plan}
        while more := {n for n, entry in others.items() if n not in changed and changed & entry["inputs"].keys()}:
            changed |= more
        if stale := [name for name in dict.fromkeys([*plan, *recorded]) if name in changed & held]:
            if not discard_stale:
                causes = [stage for name, stage in by_name.items() if name in changed]
                lines = reasons(causes, plan, recorded, [manifest.get("config"), config])
                raise SeeWhyError(self._staleness(stale, lines))
            self._discard({name: self._outputs(name, {*plan, *recorded}) for name in stale})
        kept = {name: entry for name, entry in recorded.items() if name in held - changed}
        versions = package_versions()
        if kept and manifest.get("versions", versions) != versions:
            say(f"{self.path} was begun with {manifest['versions']} and goes on with {versions}: results may differ")
        for name, entry in plan.items():
            before = recorded[name] if name in same else None
            entry["fingerprint"] = before["fingerprint"] if before else entry["fingerprint"]
            entry["inputs"] = {source.name: plan[source.name]["fingerprint"] for source in by_name[name].inputs}
            entry["versions"] = versions_of(before if name in held else None, manifest, versions)
            if before and name in kept:
                entry |= {key: before[key] for key in ("shards", "complete", "sums") if key in before}
        config = manifest.get("config") if config is None else config
        self._manifest = {"versions": versions, "config": config, "stages": kept | plan}
        self.write_json("manifest.json", self._manifest)

    def records(
        self,
        stage: Stage,
        record: type[R],
        items: Sequence[T],
        work: Callable[[Sequence[T], int], Iterable[R]],
        *,
        made_for: Mapping[str, str] = MappingProxyType({}),
        here: bool = False,
    ) -> Records[R]:
        """Return the stage's records in the order of its items, calling `work(items, seed)` for each missing shard.

        `work` must be a function of its arguments and the stage's settings. `seed`, in [0, 2**32), follows from the
        run's seed, the stage's name and the shard's number, so the folder's workers may share the missing shards; with
        `here` they are all made in this process. `made_for` has, by item, a digest of what decides its records beside
        the settings, where anything does: of a shard in which that has changed, these items' records (known by their
        `example_id`) are made anew and the others kept; a shard in which nothing has keeps its bytes. Raises
        SeeWhyError when a shard was made of other items. What is returned reads the shards whenever it is gone through.
        """
        shards = self._shards(stage, record, items, work, made_for)
        left = {number: len(items) for number in range(len(shards.paths)) if (items := shards.left(number))}
        held = {number: shards.look(number) for number in range(len(shards.paths)) if number not in left}
        missing = [number for number in left if not shards.paths[number].exists()]
        changed = [number for number in left if number not in missing]
        workers = ThisProcess() if here or len(missing) < 2 else self.workers
        done = sum(len(part) for part in shards.parts) - sum(left.values())
        with progress(stage.name, total=done + sum(left.values()), done=done) as advance:
            ThisProcess().make(stage.name, changed, shards.make, lambda number: advance(left[number]))
            workers.make(stage.name, missing, shards.make, lambda number: advance(left[number]))
        self._complete(stage, shards=len(shards.paths))
        return Records([held.get(number) or shards.look(number) for number in range(len(shards.paths))])

    def _shards(
        self,
        stage: Stage,
        record: type[R],
        items: Sequence[T],
        work: Callable[[Sequence[T], int], Iterable[R]],
        made_for: Mapping[str, str],
    ) -> Shards[R]:
        """Return the shards of an announced stage. Raises SeeWhyError where the folder has one that it has not."""
        shards = Shards(
            stage.name, self._announced(stage)["fingerprint"], self._place(stage.name), record, items, self.shard_size,
            self.seed, work, made_for, self._timed, self._copy_aside, self.check_held,
        )  # fmt: skip
        shards.check()
        return shards

    def folder(self, stage: Stage, make: Callable[[Path], None]) -> Path:
        """Return the stage's folder, made by `make(partial_folder)` where it is missing.

        The partial folder survives a kill, so `make` may find its own work there, finished even, and goes on with it.
        """
        entry, final = self._announced(stage), self._place(stage.name)
        if final.exists():
            check_stage_folder(final, entry)
        else:
            say(stage.name)
            unfinished = final.with_name(final.name + ".partial")
            with disk(final), self._timed("folder", stage=stage.name):
                unfinished.mkdir(parents=True, exist_ok=True)
                self.workers.together(stage.name, lambda: make(unfinished))
                self.check_held()
                write_sums(unfinished, entry["fingerprint"])
                for path in [*unfinished.rglob("*"), unfinished]:
                    sync(path)
                unfinished.rename(final)
                sync(final.parent)
        self._complete(stage, shards=None, sums=(final / SUMS).is_file())
        return final

    def write_json(self, name: str, value: Any) -> None:
        """Write a result with a checksum at the top of the folder, whole or not at all. NaN is no JSON: say None."""
        self.write(name, sealed_json(value, indent=2, sort_keys=True, allow_nan=False))

    def write_yaml(self, name: str, text: str) -> None:
        """Write YAML, below a comment that is its checksum, at the top of the folder, whole or not at all."""
        self.write(name, seal(f"# {KEY} {UNSEALED}\n{text}".encode()))

    def write(self, name: str, payload: bytes) -> None:
        """Write a file at the top of the folder, whole or not at all."""
        self.check_held()
        write_atomically(self.path / name, payload)

    def note(self, event: str, **details: Any) -> None:
        """Append a line to events.jsonl, where alone times may stand."""
        self.check_held()
        path = inside(self.path, "events.jsonl")
        with disk(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": datetime.now(UTC).isoformat(), "event": event, **details}) + "\n")

    @contextmanager
    def _timed(self, event: str, **details: Any) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.note(event, **details, seconds=round(time.monotonic() - start, 3))

    def _identity(self, stage: Stage) -> str:
        return digest([stage.fingerprint, self.seed, self.shard_size])

    def _settings(self, stage: Stage) -> dict[str, Any]:
        return {"seed": self.seed, "shard_size": self.shard_size, **stage.settings}

    def _entry(self, stage: Stage) -> dict[str, Any]:
        return {
            "fingerprint": self._identity(stage),
            "settings": self._settings(stage),
            "inputs": {source.name: self._identity(source) for source in stage.inputs},
            "shards": None,
            "complete": False,
        }

    def _announced(self, stage: Stage) -> dict[str, Any]:
        entry = self._manifest.get("stages", {}).get(stage.name)
        if entry is None or changes(entry["settings"], self._settings(stage)):
            raise ValueError(f"stage {stage.name!r} was not announced to check()")
        return entry

    def _says_of_itself(self, name: str) -> str | None:
        """Return the fingerprint that a stage's own outputs hold."""
        place = self._place(name)
        if shards := sorted(place.glob("shard-*.parquet")):
            return shard_origin(shards[0]).get("fingerprint")
        return made_from(place)

    def _complete(self, stage: Stage, *, shards: int | None, sums: bool = False) -> None:
        entry = self._announced(stage)
        done = {"shards": shards, "complete": True, **({"sums": True} if sums else {})}
        if entry | done != entry:
            entry.update(done)
            self.write_json("manifest.json", self._manifest)

    def _place(self, name: str) -> Path:
        return inside(self.path, f"stages/{name}")

    def _outputs(self, name: str, stages: Collection[str]) -> list[Path]:
        """Return what a stage has written, whole or in part; not a folder that only holds other stages."""
        others = {self._place(other) for other in stages if other.startswith(f"{name}/")}
        places = [path for path in (self._place(name), self._place(f"{name}.partial")) if path.exists()]
        return [path for path in places if path.is_file() or not only_leads_to(path, others)]

    def _staleness(self, stale: Sequence[str], lines: Sequence[str]) -> str:
        why = "; ".join(lines) or "manifest.json does not say how they were made"
        return (
            f"{self.path} holds outputs made with other settings ({why}).\n"
            f"Stale because of this: {', '.join(stale)}.\n"
            "Go back to those settings, choose another output folder, or add --discard_stale true to make them again "
            f"(the old files move to {self.path / 'discarded'})."
        )

    def _discard(self, stale: Mapping[str, Sequence[Path]]) -> None:
        """Move stale outputs aside, with the results made from them and a copy of the manifest that explains them."""
        manifest = self.path / "manifest.json"
        results = {path for path in self.path.iterdir() if path.suffix in {".json", ".html"}} - {manifest}
        outputs = {path for paths in stale.values() for path in paths}
        self._aside = set_aside(self.path, [*outputs, *results], manifest)
        self.note("discarded", stages=list(stale), to=str(self._aside))

    def _copy_aside(self, path: Path) -> None:
        """Keep a copy of a shard that is about to be patched, where this process has moved what was made from it."""
        if self._aside is None:
            self._aside = set_aside(self.path, [], self.path / "manifest.json")
        if not (copy := self._aside / path.relative_to(self.path)).exists():
            write_atomically(copy, path.read_bytes())


def check_stage_folder(folder: Path, entry: Mapping[str, Any]) -> None:
    """Raise SeeWhyError for the first file of a stage's folder that is missing or damaged. `entry` is its record."""
    remedy = MADE_ANEW.format(folder=folder)
    if entry.get("sums") and not (folder / SUMS).is_file():
        raise SeeWhyError(
            f"{folder / SUMS} is missing, so it cannot be told whether the other files are whole. {remedy}"
        )
    check_folder(folder, remedy)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a run folder, or {} where there is none yet. Raises SeeWhyError for a damaged one."""
    try:
        found = unsealed_json((path / "manifest.json").read_bytes())
        check_form(found)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SeeWhyError(
            f"{path / 'manifest.json'} is damaged ({error}). Delete it and start the run again with the same settings: "
            "outputs that say themselves that they were made with these are kept."
        ) from error
    return found


def read_records(path: Path, name: str, record: type[R]) -> list[R]:
    """Return all records of a stage. Raises SeeWhyError where some are not made yet, or a shard is damaged."""
    entry = read_manifest(path).get("stages", {}).get(name)
    if entry is None or not entry["complete"]:
        raise SeeWhyError(f"{path} has no finished stage {name!r}. Start the run again: it goes on where it stopped.")
    place = inside(path, f"stages/{name}")
    shards = [place / SHARD.format(number) for number in range(entry["shards"])]
    return [row for shard in shards for row in decode_shard(shard, record)[0]]


def read_shards(path: Path, name: str, record: type[R]) -> list[R]:
    """Return the records of a stage in order, as far as it has come. Raises SeeWhyError where a shard is damaged, or
    one of a finished stage missing."""
    if read_manifest(path).get("stages", {}).get(name, {}).get("complete"):
        return read_records(path, name, record)
    shards = sorted(inside(path, f"stages/{name}").glob("shard-*.parquet"))
    return [row for shard in shards for row in decode_shard(shard, record)[0]]


def package_versions() -> dict[str, str]:
    """Return the versions that a run's bytes depend on."""
    versions = {"python": platform.python_version()}
    for package in ("seewhy", "torch", "transformers", "pyarrow"):
        with suppress(PackageNotFoundError):  # a source tree on the path has no version
            versions[package] = version(package)
    return versions
