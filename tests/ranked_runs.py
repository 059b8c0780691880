"""Runs and tunings by several ranks on this machine, started as torchrun starts them, with one that may kill itself."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from killed import PROCESSES
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.run import loop
from seewhy.run.folder import RunFolder
from seewhy.run.storage import digest

SAMPLED = ("describe", "answers", "candidates", "predictions", "likelihoods", "replay")
"""How the names of stages begin whose shards a model makes."""


def start_ranks(work: Callable[..., None], *arguments: Any, count: int = 2, patience: float = 0) -> list[int]:
    """Call `work(*arguments)` in `count` ranks; return their exit codes.

    Where one fails, the others are ended after `patience` seconds, in which they may end by themselves.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    ranks = [PROCESSES.Process(target=_as_rank, args=(n, count, port, work, arguments)) for n in range(count)]
    for process in ranks:
        process.start()
    while any(process.is_alive() for process in ranks):
        for process in ranks:
            process.join(0.05)
        if any(process.exitcode for process in ranks):
            until = time.monotonic() + patience
            for process in ranks:
                process.join(max(0.0, until - time.monotonic()))
                process.terminate()
    return [process.exitcode if process.exitcode is not None else 1 for process in ranks]


def _as_rank(number: int, count: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT=str(port))
    work(*arguments)


def run_rank(config: RunConfig, die_in: str | None = None, rank: int = 1) -> None:
    """Make a run as one of the ranks; `rank` kills itself with its first work for the stage `die_in`.

    The others begin that stage's work only then, or they might do all of it. "settings" gives the rank other settings
    instead. An error is printed, as the command does.
    """
    if die_in == "settings":
        config = replace(config, seed=9) if int(os.environ["RANK"]) == rank else config
    elif die_in:
        died = Path(config.output).with_name(f"died-{die_in.replace('/', '-')}")
        if int(os.environ["RANK"]) == rank:
            dying(die_in, died)
        else:
            waiting(die_in, died)
    try:
        loop.run(config)
    except SeeWhyError as error:
        Path(config.output).with_name(f"said-{os.environ['RANK']}").write_text(str(error))
        sys.exit(str(error))


def dying(wanted: str, died: Path) -> None:
    """Let this process kill itself with its first shard, or its second optimizer step, of a stage, and leave a sign."""
    from seewhy.vlm.tuning import _CheckpointedTrainer

    step, steps = _CheckpointedTrainer.training_step, []

    def die(*_of: Any) -> Any:
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def dying_step(self: Any, *arguments: Any, **named: Any) -> Any:
        steps.append(1)
        if wanted in str(self.checkpoints.folder) and len(steps) == 2:
            die()
        return step(self, *arguments, **named)

    _change_work(wanted, lambda _work: die)
    _CheckpointedTrainer.training_step = dying_step


def waiting(wanted: str, died: Path) -> None:
    """Let this process begin a stage's shards only once another has left the sign that it died in it."""

    def waiting_for(work: Callable[..., Any]) -> Callable[..., Any]:
        def then_work(*of: Any) -> Any:
            until = time.monotonic() + 60
            while not died.exists() and time.monotonic() < until:
                time.sleep(0.01)
            return work(*of)

        return then_work

    _change_work(wanted, waiting_for)


def _change_work(wanted: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Let a function stand in for the one that makes the shards of a stage."""
    shards = RunFolder._shards

    def changed(self: Any, stage: Any, record: Any, items: Any, work: Any, made_for: Any) -> Any:
        return shards(self, stage, record, items, change(work) if stage.name == wanted else work, made_for)

    RunFolder._shards = changed


def shards(run: Path) -> dict[str, bytes]:
    """Every shard of a run, by its path."""
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("shard-*.parquet"))}


def without_samples(run: Path) -> None:
    """Remove every shard that a model made, so that the run makes them again with the models that it has."""
    for path in run.rglob("shard-*.parquet"):
        if path.parent.name.startswith(SAMPLED):
            path.unlink()


def losses_of(folder: Path, count: int) -> list[float]:
    """The loss of each step, averaged over ranks (each gives its part times their number)."""
    of_ranks = [[float(line) for line in (folder / f"losses-{n}").read_text().split()] for n in range(count)]
    return [sum(parts) / count for parts in zip(*of_ranks, strict=True)]


def tune_rank(base: Path, out: Path, change: Mapping[str, Any], seed: int = 3, die_at: int | None = None) -> None:
    """Tune the turns of tune_once.py as one of the ranks, or alone, and write the losses of its steps beside `out`."""
    from seewhy.run.ranks import _joined
    from seewhy.vlm import tuning
    from seewhy.vlm.model import VisionLanguageModel
    from tune_once import CONFIG, turns

    rank = int(os.environ.get("RANK", "0"))
    if "RANK" in os.environ:
        _joined()
    step, losses = tuning._CheckpointedTrainer.training_step, []

    def noting(self: Any, *arguments: Any, **named: Any) -> Any:
        if rank == 1 and die_at == self.state.global_step:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = step(self, *arguments, **named)
        losses.append(float(loss))
        return loss

    tuning._CheckpointedTrainer.training_step = noting
    vlm = VisionLanguageModel.load(base, device="cpu")
    given = [turn for turn in turns(base) for _ in range(1 + int(digest([turn.id])[0], 16) % 3)]  # uneven groups
    tuning.tune(vlm, given, replace(CONFIG, **change), out, seed=seed)
    (out / f"losses-{rank}").write_text("\n".join(map(repr, losses)))
