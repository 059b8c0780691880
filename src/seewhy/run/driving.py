"""Which process drives a run, and with which workers.

The process that a user starts drives the run itself, unless `workers.count` asks for ranks on this machine: then it
starts them, and rank 0 drives. Of the ranks that torchrun or `accelerate launch` started, rank 0 drives and the others
follow. Ray's actors are workers of the process that drives.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.run import ranks
from seewhy.run.alike import about, check_alike, check_shared, invitation, say_clock
from seewhy.run.folder import RunFolder
from seewhy.run.follow import Follower
from seewhy.run.progress import be_quiet
from seewhy.run.ranks import Ranks
from seewhy.run.workers import ThisProcess, Workers


def is_driven_elsewhere(config: RunConfig, options: Mapping[str, Any]) -> bool:
    """Make the run by other processes, if that is what the settings or the job ask for, and return whether it was.

    `options` are the arguments with which the driving process is to run. Raises SeeWhyError for what ended the run.
    """
    _check(config)
    if ranks.world_size() > 1:
        if ranks.rank() == 0:
            return False
        follow(config)
        return True
    if config.workers.kind == "ranks" and config.workers.count > 1:
        start_ranks(config, options)
        return True
    return False


def _check(config: RunConfig) -> None:
    """Raise SeeWhyError for settings that do not go together."""
    workers = config.workers
    if ranks.world_size() > 1 and workers.kind == "ray":
        raise SeeWhyError("workers.kind is ray, but torchrun or accelerate launch started this process: use one alone.")
    several = max(workers.count, ranks.world_size()) > 1 or workers.kind == "ray"
    if several and config.model.engine.kind == "server" and not config.model.engine.base_url:
        raise SeeWhyError(
            "model.engine.kind is server without a base_url, and each worker would start a server of its own: start "
            "one that spreads over the GPUs and give model.engine.base_url, or leave model.engine.kind in_process."
        )


@contextmanager
def workers_of(config: RunConfig, folder: RunFolder) -> Iterator[Workers]:
    """Give the workers of a run that this process drives; it has locked the folder."""
    if config.workers.kind == "ray":
        with _ray_workers(config, folder.path) as actors:
            yield actors
    elif ranks.world_size() > 1:
        team = Ranks()
        _invite(team, config, folder.path)
        yield team
        team.dismiss()
    else:
        yield ThisProcess()


def _ray_workers(config: RunConfig, folder: Path) -> AbstractContextManager[Workers]:
    try:
        from seewhy.run.workers_ray import ray_workers
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise SeeWhyError("workers.kind is ray, which needs the package ray: pip install 'seewhy[ray]'.") from error
    return ray_workers(config, folder)


def _invite(team: Ranks, config: RunConfig, folder: Path) -> None:
    """Let the other ranks see the run folder. Raises SeeWhyError where one is not like this, or does not see it."""
    mine = about(config)
    for name, theirs in team.greet().items():
        check_alike(mine, theirs, name)
    asked = time.time()
    team.tell("invitation", invitation(folder))
    clocks, heard = team.hear_all("here"), time.time()
    for name, clock in zip(team.names.values(), clocks, strict=True):
        say_clock(name, clock, asked, heard)


def follow(config: RunConfig) -> None:
    """Be one of the ranks that rank 0 drives, until the run has ended.

    Raises SeeWhyError, with this rank's name, for what rank 0 could not be told of.
    """
    be_quiet()
    team, mine = Ranks(), about(config)
    name = ranks.name_of(ranks.rank(), mine)
    try:
        team.introduce(mine)
        check_shared(Path(config.output), team.hear("invitation"))
        team.answer("here", time.time())
        _serve(team, config)
    except Exception as error:
        reason = str(error) if isinstance(error, SeeWhyError) else f"{type(error).__name__}: {error}"
        if team.fail(f"{name}: {reason}"):
            sys.exit(1)  # rank 0 says it
        raise SeeWhyError(f"{name}: {reason}") from error


def _serve(team: Ranks, config: RunConfig) -> None:
    """Carry out the orders of rank 0. Data and models are loaded for the first of them."""
    follower = None
    for order in team.orders():
        follower = follower or Follower(config)
        team.carry_out(order, follower.maker(order.stage))
    if follower:
        follower.close()


def start_ranks(config: RunConfig, options: Mapping[str, Any]) -> None:
    """Start `workers.count` ranks on this machine, one for each GPU, and wait for them.

    Raises SeeWhyError where there are fewer GPUs, and where a rank ended, with its name.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count, gpus = config.workers.count, torch.cuda.device_count()
    if gpus and config.model.device != "cpu" and count > gpus:
        raise SeeWhyError(f"workers.count is {count}, but this machine has {gpus} GPUs, and each worker needs one.")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "run.json"
        file.write_text(json.dumps({"settings": asdict(config), "options": options}))
        job = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid4().hex, rdzv_backend="c10d",
            rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.1,
        )  # fmt: skip
        try:
            elastic_launch(job, sys.executable)("-m", "seewhy.run.ranked", str(file))
        except ChildFailedError as error:
            number, failure = error.get_first_failure()
            raise SeeWhyError(_how_it_ended(number, failure.pid, failure.exitcode)) from None


def _how_it_ended(number: int, process: int, code: int) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    why = {-9: " (killed; often because the machine ran out of memory)", 1: " (its message stands above)"}.get(code, "")
    return (
        f"Rank {number} (process {process} on this machine) {how}{why}, so the others were ended too. What is finished "
        "is kept: give the same command again, and it goes on."
    )
