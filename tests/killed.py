"""Runs in a process of their own, which kills itself in the midst of a stage."""

import math
import os
import re
import signal
from multiprocessing import get_context
from pathlib import Path

from seewhy.config import RunConfig
from seewhy.run import loop
from seewhy.run.folder import RunFolder

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["seewhy.run.loop", "torch"])


SEAL = re.compile(rb"(seal\W+)sha256:[0-9a-f]{64}")


def start(config: RunConfig, die_in: str | None = None) -> int:
    """Run in a process of its own; its exit code. `die_in` is the stage in which it kills itself."""
    process = PROCESSES.Process(target=run_and_die, args=(config, die_in))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def run_and_die(config: RunConfig, die_in: str | None) -> None:
    import torch

    from seewhy.vlm.tuning import _CheckpointedTrainer

    torch.set_num_threads(1)
    records, folder, step = RunFolder.records, RunFolder.folder, _CheckpointedTrainer.training_step
    state = {"tuning": "", "steps": 0}

    def dying_records(self, stage, record, items, work, **more):
        calls = []

        def dying_work(part, seed):
            rows = list(work(part, seed))
            calls.append(part)
            if stage.name == die_in and len(calls) == min(2, math.ceil(len(items) / config.shard_size)):
                os.kill(os.getpid(), signal.SIGKILL)
            return rows

        return records(self, stage, record, items, dying_work, **more)

    def noting_folder(self, stage, make):
        state.update(tuning=stage.name, steps=0)
        return folder(self, stage, make)

    def dying_step(self, *args, **kwargs):
        state["steps"] += 1
        if state["tuning"] == die_in and state["steps"] == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *args, **kwargs)

    RunFolder.records, RunFolder.folder = dying_records, noting_folder
    _CheckpointedTrainer.training_step = dying_step
    loop.run(config)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run by its path; times stand in events.jsonl, images.parquet and a server's log.

    A file that names its run has another seal in another run.
    """

    def elsewhere(payload: bytes) -> bytes:
        here = str(folder).encode()
        return SEAL.sub(rb"\1", payload.replace(here, b"RUN")) if here in payload else payload

    return {
        str(path.relative_to(folder)): elsewhere(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"events.jsonl", "images.parquet", "lock", "log.txt"}
    }
