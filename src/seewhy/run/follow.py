"""What a worker does: it opens the run that another process drives, and makes what it is told to.

    follower = Follower(config)
    follower.maker("describe")(3)            # makes shard 3 of the descriptions
    follower.maker("round-1/model")(0)       # takes part in tuning

A worker writes shards and nothing else: manifest, results and messages are the driving process's.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from transformers import TrainerCallback

from seewhy.config import RunConfig
from seewhy.domain.covering import COVERED
from seewhy.errors import SeeWhyError
from seewhy.records import Answer
from seewhy.run.alike import PATIENCE
from seewhy.run.finished import model_path
from seewhy.run.folder import RunFolder, read_manifest
from seewhy.run.opening import open_run
from seewhy.run.records import Records
from seewhy.run.shards import Identified
from seewhy.run.stages import ARMS, BASE, OURS, Arm, ModelKey, StageKey
from seewhy.run.staleness import Stage, changes, unchanged
from seewhy.run.steps import Run

R = TypeVar("R")
T = TypeVar("T", bound=str | Identified)


class Wanted(Exception):
    """Leaves the step of the wanted stage at the place where its work would begin, with what does that work."""

    def __init__(self, make: Callable[[int], None]) -> None:
        super().__init__()
        self.make = make


class FollowedFolder(RunFolder):
    """The run folder of another process, of which this one makes parts of the stage named `wanted`."""

    is_own = False
    wanted = ""

    def check(
        self, stages: Sequence[Stage], *, config: Mapping[str, Any] | None = None, discard_stale: bool = False
    ) -> None:
        """Read the manifest. Raises SeeWhyError where data, models or settings are not those of its writer."""
        self._manifest = read_manifest(self.path)
        recorded = self._manifest.get("stages", {})
        by_name = {stage.name: stage for stage in stages}
        plan = {name: self._entry(stage) for name, stage in by_name.items()}
        same = unchanged(by_name, plan, recorded)
        for stage in stages:
            mine, theirs = plan[stage.name], recorded.get(stage.name)
            if stage.name not in same:
                how = "; ".join(changes(theirs["settings"], mine["settings"])) if theirs else "it is not planned there"
                raise SeeWhyError(
                    f"stage {stage.name} is made from something else here than in the manifest of {self.path} "
                    f"({how or 'its inputs differ'}): give every machine the same data, base and encoder."
                )

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
        """Return the records of a finished stage. Raises Wanted for the stage to be made."""
        shards = self._shards(stage, record, items, work, made_for)
        if stage.name == self.wanted:
            raise Wanted(shards.make)
        return Records([shards.look(number) for number, path in enumerate(shards.paths) if _seen(path)])

    def folder(self, stage: Stage, make: Callable[[Path], None]) -> Path:
        """Return the folder of a finished stage. Raises Wanted for the stage to be made."""
        self._announced(stage)
        final = self._place(stage.name)
        if stage.name == self.wanted:
            raise Wanted(lambda _number: make(_seen(final.with_name(final.name + ".partial"))))
        return _seen(final)

    def write(self, name: str, payload: bytes) -> None:
        """Leave it to the driving process."""

    def note(self, event: str, **details: Any) -> None:
        """Leave it to the driving process: lines that machines append at the same time may mix."""


class Follower:
    """A worker's view of the run. Raises SeeWhyError where it is not what the driving process has."""

    def __init__(self, config: RunConfig, callbacks: Sequence[TrainerCallback] = ()) -> None:
        self._folder = FollowedFolder(config.output, seed=config.seed, shard_size=config.shard_size)
        self._run = open_run(self._folder, config)
        self._run.callbacks = callbacks
        self._make: Callable[[int], None] = lambda _number: None

    def maker(self, stage: str) -> Callable[[int], None]:
        """Return what makes a shard of a stage by its number, or takes part in making its folder."""
        if stage != self._folder.wanted:
            self._folder.wanted = stage
            try:
                take_step(self._run, StageKey.parse(stage))
            except Wanted as found:
                self._make = found.make
        return self._make

    def close(self) -> None:
        """Release the model."""
        self._run.loaded.release()


def take_step(run: Run, key: StageKey) -> None:
    """Take the step that makes a stage, with what the stages before it left in the run folder."""
    match key.kind, key.model:
        case "describe", None:
            run.describe(key.split)
        case "replay", None:
            run.replay()
        case "predictions", ModelKey() as model:
            run.predict(model, _path(run, model), key.split)
        case "likelihoods", ModelKey() as model:
            run.likelihoods(model, run.predict(model, _path(run, model), key.split))
        case "candidates", ModelKey() as model:
            arm = ARMS[model.arm]
            run.sample(arm, model.round, _before(run, arm, model.round), run.select())
        case "answers", ModelKey() as model if key.split == COVERED:
            run.cover(ARMS[model.arm])
        case "answers", ModelKey() as model:
            _taught(run, ARMS[model.arm], model.round)
        case "model", ModelKey() as model:
            arm = ARMS[model.arm]
            start = run.base if run.config.start_from == "base" else _before(run, arm, model.round)
            run.tune(model, start, _taught(run, arm, model.round))
        case _:
            raise ValueError(f"workers make no shards of {key}")


def _taught(run: Run, arm: Arm, round: int) -> Sequence[Answer]:
    """Return the training set of an arm's round, as the loop makes it."""
    if arm.template:
        return run.fill_in(arm, _taught(run, OURS, round))
    if round == 1:
        return run.synthesise(arm, run.select())
    before, selections = _before(run, arm, round), run.select()
    return run.filter(arm, round, run.sample(arm, round, before, selections), before, selections)


def _before(run: Run, arm: Arm, round: int) -> Path:
    return _path(run, arm.model(round - 1))


def _path(run: Run, model: ModelKey) -> Path:
    return run.base if model == BASE else model_path(run.folder.path, model)


def _seen(path: Path) -> Path:
    """Return a path that another machine made, once it can be seen here. Network folders may be seconds behind."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > until:
            raise SeeWhyError(
                f"{path} was made by another worker, but cannot be seen from here. Is it on a shared disk?"
            )
        time.sleep(0.1)
    return path
