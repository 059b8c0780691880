"""The tiny run that a campaign kills and damages, made in children of this process, which imports everything first."""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
import yaml

import seewhy.cli
import seewhy.explanation
import seewhy.export.build
import seewhy.proof.audit
import seewhy.report.page
import seewhy.run.loop  # noqa: F401 -- children find it imported
import torchvision_ops  # noqa: F401 -- before anything imports transformers
from tiny_run import tiny_run
from torture.kills import Workload

torch.set_num_threads(1)  # a process with threads at work must not be forked


@cache
def tiny_workload(root: Path, scratch: Path) -> Workload:
    """Make a run of one round beside one control, with a gate, all stages but replay."""
    config = tiny_run(
        root, train=2, test=1, val=1, tokens=4, shard_size=4, controls=("nl",), tune={"epochs": 1, "batch_size": 2,
        "micro_batch_size": 2},
    )  # fmt: skip
    path = root / "run.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(asdict(config)))), encoding="utf-8")
    return Workload.made(path, Path(config.output), scratch)


def photo(root: Path) -> Path:
    """An image that `explain` is asked about."""
    return next((root / "images/test").rglob("*.png"))
