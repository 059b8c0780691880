"""The tiny run that a campaign kills and damages, made in children of this process, which imports everything first."""

import gc
import io
import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import yaml

import seewhy.cli
import seewhy.explanation
import seewhy.export.build
import seewhy.proof.audit
import seewhy.report.page
import seewhy.run.loop  # noqa: F401 -- children find it imported
import torchvision_ops  # noqa: F401 -- before anything imports transformers
from seewhy.config import EngineConfig, RunConfig
from tiny_run import tiny_run
from torture.children import verb
from torture.kills import Workload

FAKE = Path(__file__).parents[1] / "fake_server.py"

torch.set_num_threads(1)  # a process with threads at work must not be forked


@cache
def tiny_workload(root: Path, scratch: Path) -> Workload:
    """Make a run of one round beside one control, with a gate, all stages but replay."""
    return _made(root, scratch, controls=("nl",))


@cache
def wide_workload(root: Path, scratch: Path) -> Workload:
    """Make a run of two rounds beside all controls, with replay and all that a run can have."""
    controls = ("nl", "lge", "unfiltered", "class_level")
    return _made(root, scratch, rounds=2, controls=controls, keep_going=True, tune={"replay": "self"})


@cache
def served_workload(root: Path, scratch: Path) -> Workload:
    """Make a run like the tiny one, whose texts come from a server that each start starts."""
    root.mkdir(parents=True, exist_ok=True)
    marks = root / "answers.json"
    marks.write_text("{}", encoding="utf-8")
    engine = EngineConfig(kind="server", command=f"'{sys.executable}' '{FAKE}' --port {{port}} --answers '{marks}'")
    return _made(root, scratch, server=str(marks), controls=("nl",), model={"engine": engine})


def _made(
    root: Path, scratch: Path, tune: Mapping[str, Any] = MappingProxyType({}), server: str = "", **changes: Any
) -> Workload:
    small = {"epochs": 1, "batch_size": 2, "micro_batch_size": 2, "checkpoint_steps": 2, **tune}
    config = tiny_run(root, train=2, test=1, val=1, tokens=4, shard_size=4, tune=small, **changes)
    return Workload.made(write_settings(config, root / "run.yaml"), Path(config.output), scratch, server)


def write_settings(config: RunConfig, path: Path) -> Path:
    """Write a file of settings; return its path."""
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))), encoding="utf-8")
    return path


def photo(root: Path) -> Path:
    """An image that `explain` is asked about."""
    return next((root / "images/test").rglob("*.png"))


def warm(run: Path, scratch: Path) -> None:
    """Call verbs on a copy of a run in this process, so that its children find parsed and compiled what they all need,
    and need not look at it when they collect garbage."""
    copy = scratch / "warm"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    for arguments in (["check"], ["audit"], ["report", "--no_heatmaps"]):
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            verb([arguments[0], str(copy), *arguments[1:]])()
    shutil.rmtree(copy)
    gc.collect()
    gc.freeze()
