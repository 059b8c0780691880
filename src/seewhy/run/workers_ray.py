"""Workers in a Ray cluster, whose nodes may come and go (`pip install 'seewhy[ray]'`).

    seewhy run birds.yaml --workers.kind ray --workers.count 8

An actor holds a model and makes one shard after the other. An actor that dies, or whose node does, gives its shard back
and is replaced as soon as there is room for another. Models are tuned by Ray Train's TorchTrainer, whose workers are
ranks as torchrun's are, and which starts them again from the last checkpoint when one dies. All nodes share the run
folder and see the same data. This is the one module that imports ray.
"""

import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.exceptions import RayActorError, RayTaskError
from ray.train.torch import TorchTrainer, get_device
from transformers import TrainerCallback

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.run.alike import about, check_alike, check_shared, invitation, say_clock
from seewhy.run.follow import Follower
from seewhy.run.progress import be_quiet, say
from seewhy.settings import restore_config

TRIES = 3
"""Actors that may die over one shard, and restarts of one tuning, before the run ends."""
PATIENCE = 60.0
"""Seconds without any actor after which it is said what the cluster has."""
ANSWER = 5.0
"""Seconds in which a cluster's address has to answer."""


@contextmanager
def ray_workers(config: RunConfig, folder: Path) -> Iterator["RayActors"]:
    """Give the actors of a run that this process drives; it has locked `folder`. They end with it.

    Raises SeeWhyError where there is no cluster, or one without what `workers` asks for.
    """
    here = ray.is_initialized()
    if not here:
        _connect(config.workers.address)
    actors = RayActors(config, folder)
    try:
        actors.begin()
        yield actors
    finally:
        actors.close()
        if not here:
            ray.shutdown()


def _connect(address: str) -> None:
    """Connect to a cluster, or start one on this machine. Raises SeeWhyError where nothing answers."""
    remedy = "Start one with `ray start --head`, name its HOST:PORT, or set workers.address to local."
    if address.startswith("ray://"):
        raise SeeWhyError(
            f"workers.address is {address}, but a run needs to be in the cluster, as it writes to its folder: start it "
            "there with `ray job submit -- seewhy run CONFIG`, with workers.address auto."
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER).close()
        except OSError as error:
            raise SeeWhyError(f"No Ray cluster answers at workers.address {address} ({error}). {remedy}") from error
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise SeeWhyError(f"No Ray cluster answers at workers.address {address} ({reason}). {remedy}") from error


class Maker:
    """An actor: a worker with a model of its own."""

    def __init__(self, settings: Mapping[str, Any], started_in: str) -> None:
        be_quiet()
        _enter(started_in)
        self._config = restore_config(settings)
        self._follower: Follower | None = None

    def meet(self, invited: Mapping[str, Any]) -> dict[str, Any]:
        """Return what this actor is. Raises SeeWhyError where its run folder is not that of the driving process."""
        check_shared(Path(self._config.output), invited)
        return {**about(self._config), "clock": time.time()}

    def make(self, stage: str, number: int) -> None:
        """Make a shard of a stage."""
        self._follower = self._follower or Follower(self._config)
        self._follower.maker(stage)(number)


class RayActors:
    """The actors of a run, as many as `workers.count` wants and the cluster has room for."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._settings = json.loads(json.dumps(asdict(config)))
        self._coming: dict[Any, tuple[Any, float]] = {}
        """Answer to `meet` -> the actor that gives it, and when it was asked."""
        self._free: list[Any] = []
        self._busy: dict[Any, tuple[Any, int]] = {}
        """Answer to `make` -> the actor that gives it, and the shard."""
        self._alone_since: float | None = None
        self._invited: Mapping[str, Any] = {}
        self._about: Mapping[str, Any] = {}

    @property
    def _needs(self) -> dict[str, float]:
        workers = self._config.workers
        return {"CPU": float(workers.cpus)} | ({"GPU": float(workers.gpus)} if workers.gpus else {})

    def begin(self) -> None:
        """Raise SeeWhyError for a cluster without GPUs where workers need them. Actors start with the first shards."""
        has, gpus = ray.cluster_resources(), self._config.workers.gpus
        if gpus and not has.get("GPU"):
            raise SeeWhyError(
                f"workers.gpus is {gpus:g}, but the Ray cluster has no GPU ({_words(has)}): add a node with one, or "
                "set workers.gpus to 0."
            )
        self._invited, self._about = invitation(self._folder), about(self._config)

    def make(
        self, stage: str, missing: Sequence[int], here: Callable[[int], None], made: Callable[[int], None]
    ) -> None:
        """Make the missing shards of a stage, each by the next actor that is free. None is made in this process."""
        waiting, busy, deaths = list(reversed(missing)), self._busy, Counter[int]()
        while waiting or busy:
            self._hire(self._config.workers.count - len(busy))
            while self._free and waiting:
                actor, number = self._free.pop(), waiting.pop()
                busy[actor.make.remote(stage, number)] = actor, number
            answered, _ = ray.wait([*busy, *self._coming], timeout=1.0)
            for answer in answered:
                if answer in self._coming:
                    self._welcome(answer)
                    continue
                actor, number = busy.pop(answer)
                if death := _death(answer):
                    deaths[number] += 1
                    if deaths[number] >= TRIES:
                        raise SeeWhyError(
                            f"{deaths[number]} workers died over shard {number} of {stage}; the last: {death}. What is "
                            "finished is kept. Is there too little memory? Try a smaller model.batch_size."
                        )
                    say(f"A worker died ({death}); another one makes shard {number} of {stage}.")
                    waiting.append(number)
                else:
                    self._free.append(actor)
                    made(number)
            self._say_if_alone()

    def together(self, stage: str, here: Callable[[], None]) -> None:
        """Tune a model by Ray Train, in as many ranks as there is room for; the actors give up theirs."""
        self.close()
        has, needs = ray.cluster_resources(), self._needs
        room = min(int(has.get(name, 0) / amount) for name, amount in needs.items() if amount)
        count = max(1, min(self._config.workers.count, room))
        scratch = self._folder / "ray"
        trainer = TorchTrainer(
            tune_rank,
            train_loop_config={
                "settings": self._settings,
                "stage": stage,
                "invited": self._invited,
                "about": self._about,
                "started_in": os.getcwd(),
            },
            scaling_config=ray.train.ScalingConfig(
                num_workers=count, use_gpu="GPU" in needs, resources_per_worker=needs
            ),
            run_config=ray.train.RunConfig(
                name=stage.replace("/", "-"),
                storage_path=str(scratch.absolute()),
                failure_config=ray.train.FailureConfig(max_failures=TRIES),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            ),
        )
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            trainer.fit()
        except ray.train.WorkerGroupError as error:
            number, failure = min(error.worker_failures.items())
            raise SeeWhyError(
                f"Tuning for {stage} ended {TRIES + 1} times; the last time with rank {number}: {_reason(failure)}. "
                "Its checkpoints are kept: start the run again, and it goes on."
            ) from error
        except ray.train.TrainingFailedError as error:
            raise SeeWhyError(f"Ray Train could not tune for {stage}: {_reason(error)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def close(self) -> None:
        """End the actors."""
        asked = [*self._coming.values(), *self._busy.values()]
        for actor in [*self._free, *(actor for actor, _ in asked)]:
            ray.kill(actor)
        self._free, self._coming, self._busy = [], {}, {}

    def _hire(self, wanted: int) -> None:
        """Start actors until so many are free or on their way. Ray starts one when and where there is room."""
        workers = self._config.workers
        for _ in range(wanted - len(self._free) - len(self._coming)):
            actor = (
                ray.remote(Maker)
                .options(num_cpus=workers.cpus, num_gpus=workers.gpus)
                .remote(self._settings, os.getcwd())
            )
            self._coming[actor.meet.remote(self._invited)] = actor, time.time()

    def _welcome(self, answer: Any) -> None:
        """Let an actor that has begun make shards. Raises SeeWhyError where it is not like this process."""
        actor, asked = self._coming.pop(answer)
        if death := _death(answer):
            say(f"A worker died before it had begun ({death}).")
            time.sleep(1.0)
            return
        told: Any = ray.get(answer)
        name = f"The worker in process {told['process']} on {told['host']}"
        check_alike(self._about, told, name)
        say_clock(name, told["clock"], asked, time.time())
        self._free.append(actor)

    def _say_if_alone(self) -> None:
        if self._busy or self._free:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > PATIENCE:
            say(
                f"No worker has begun for {PATIENCE:g} seconds: each needs {_words(self._needs)}, and the cluster has "
                f"{_words(ray.available_resources())} free. The run waits."
            )
            self._alone_since = time.monotonic()


def tune_rank(given: Mapping[str, Any]) -> None:
    """Take part in tuning as one of Ray Train's ranks, all of which see every GPU of their node."""
    be_quiet()
    if (device := get_device()).type == "cuda":
        torch.cuda.set_device(device)
    _enter(given["started_in"])
    config = restore_config(given["settings"])
    check_shared(Path(config.output), given["invited"])
    mine = about(config)
    check_alike(given["about"], mine, f"The worker in process {mine['process']} on {mine['host']}")
    Follower(config, [ReportCheckpoints()]).maker(given["stage"])(0)


class ReportCheckpoints(TrainerCallback):
    """Tells Ray Train of every checkpoint. It stays where it is, so that a run can go on without Ray."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        metrics = {"step": state.global_step, "loss": losses[-1] if losses else None}
        if not state.is_world_process_zero:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as pointer:
            where = {"checkpoint": str(Path(args.output_dir) / f"checkpoint-{state.global_step}")}
            (Path(pointer) / "pointer.json").write_text(json.dumps(where))
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(pointer))


def _enter(folder: str) -> None:
    """Go to the folder in which the run was started, from which relative paths lead, if this node has it."""
    if Path(folder).is_dir():
        os.chdir(folder)


def _death(answer: Any) -> str:
    """Return how the actor died that was to answer; "" if it did not. Raises SeeWhyError for what went wrong in it."""
    try:
        ray.get(answer)
    except RayActorError as error:
        return _reason(error)
    except RayTaskError as error:
        raise SeeWhyError(f"A worker ended: {_reason(error)}") from error
    return ""


def _reason(error: BaseException) -> str:
    """Return what is behind an error, in one line unless it is ours."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, SeeWhyError):
        return str(cause)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[-1] if isinstance(error, RayTaskError) else ' '.join(lines)[:300]}"


def _words(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))
