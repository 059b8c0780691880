"""Random settings of a tiny run: one that cannot work with them says so before it makes anything."""

import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from fixtures_data import image_folder
from seewhy.settings import Setting, known_settings
from tiny_run import tiny_run
from torture.children import in_child, verb
from torture.workloads import write_settings

CPU_SECONDS = 60
KEPT = {"output", "data.source", "minimum_support", "preset"}
"""Settings that are not drawn. `minimum_support` stops a run for what its model says, which no setting tells."""
COUNTS = (1, 2, 3, 5)
LARGE = (64, 1000, 2**31 - 1, 2**31, 2**32, 2**63, 10**30)
NUMBERS = (0.0, 1e-30, 1e-8, 1e-3, 0.1, 0.3, 0.5, 1.0, 2.5, 10.0, 1e4, 1e30, -1.0, -1e30)
ENDLESS = {
    "rounds", "describe.prompts_per_image", "describe.samples_per_prompt", "synthesise.answers_per_image",
    "synthesise.tries", "tune.epochs", "sample.queries_per_image", "sample.samples_per_query", "tune.replay_ratio",
    "describe.max_new_tokens", "synthesise.max_new_tokens", "sample.max_new_tokens", "evaluate.max_new_tokens",
    "evaluate.bootstrap", "workers.count", "model.engine.timeout", "model.engine.start_timeout", "model.engine.retries",
}  # fmt: skip
"""Large values of these are a lot of work that was asked for."""


@dataclass(frozen=True)
class Place:
    """Data, models and settings of a run that is started with other settings each time."""

    root: Path
    config: Path
    scratch: Path

    @classmethod
    def made(cls, root: Path, scratch: Path) -> "Place":
        """Write a tiny run's data and models, and files of a wrong kind."""
        config = tiny_run(root, train=1, test=1, val=1, tokens=2, tune={"batch_size": 2, "micro_batch_size": 2})
        (root / "empty").mkdir(exist_ok=True)
        (root / "text.yaml").write_text("[1, {a: b}]")
        image_folder(root / "other", train=1, test=1)
        return cls(root, write_settings(config, root / "run.yaml"), scratch)

    def paths(self) -> list[str]:
        """Return paths of every kind, most of which are of the wrong one."""
        names = ("nowhere", "empty", "model", "encoder", "images", "text.yaml", "concepts.yaml", "run.yaml")
        return [str(self.root / name) for name in names]


def drawn(rng: random.Random, place: Place) -> dict[str, str]:
    """Return one to four settings by name, each as it stands on the command line."""
    names = sorted(known_settings().keys() - KEPT)
    return {name: value(rng, known_settings()[name], place) for name in rng.sample(names, rng.randint(1, 4))}


def value(rng: random.Random, setting: Setting, place: Place) -> str:
    """Return a value of a setting's type, or nearly so."""
    given = str(setting.type)
    if setting.name in _TEXTS:
        return rng.choice([*_TEXTS[setting.name], *place.paths()])
    if "Literal" in given:
        choices = [str(choice) for part in (setting.type, *get_args(setting.type)) for choice in get_args(part)]
        return rng.choice([choice for choice in choices if choice.isidentifier()] or ["none"])
    if setting.type is bool:
        return rng.choice(["true", "false"])
    if "int" in given:
        return str(rng.choice(COUNTS if setting.name in ENDLESS else (*COUNTS, 0, *LARGE)))
    if "float" in given:
        return str(rng.choice([n for n in NUMBERS if n < 4] if setting.name in ENDLESS else NUMBERS))
    return rng.choice(place.paths())


_TEXTS: Mapping[str, tuple[str, ...]] = {
    "model.device": ("cpu", "cuda", "cuda:9", "mps", "meta", "tpu", ""),
    "model.engine.command": ("true {port}", "nowhere {port}", "{", "echo {missing}", "", "'"),
    "model.engine.base_url": ("http://localhost:1/v1", "localhost", "ftp://a", "http://[", ""),
    "workers.address": ("local", "localhost:1", "auto", "a:b"),
    "tune.trackers": ("[wandb]", "[tensorboard]", "[nowhere]", "none", "[all]"),
    "tune.replay": ("self", "none"),
    "data.noun": ("leaf", "", "{noun}", "<image>", "{0.x}", "é" * 50),
    "data.label_column": ("label", "nowhere"),
    "model.revision": ("main", "", "../.."),
    "controls": ("none", "[nl]", "[nl, lge, unfiltered, class_level]", "[nl, nl]"),
}  # fmt: skip


def fault_of(place: Place, given: Mapping[str, str]) -> str:
    """Return what is wrong with how a run meets settings: it fails after it has made something, or by an exception."""
    run = place.root / "run"
    shutil.rmtree(run, ignore_errors=True)
    options = [f"--{name}={text}" for name, text in given.items()]
    ended = in_child(verb(["run", str(place.config), *options]), place.scratch, cpu_seconds=CPU_SECONDS)
    told = " ".join(ended.errors.strip().splitlines()[-3:])[-500:]
    if ended.fault:
        return f"{ended.fault}: {told}"
    made = sorted(path.relative_to(run).as_posix() for path in (run / "stages").rglob("*") if path.is_file())
    if ended.code and made:
        return f"late: after {made[-1]}: {told}"
    return ""
