"""The rounds: describe -> select -> synthesise -> tune -> measure -> sample -> filter -> tune -> ..."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.plan import OURS, arms
from seewhy.proof.evaluate import count as counted
from seewhy.proof.explanation import StatedConcepts
from seewhy.records import Answer
from seewhy.run_folder import RunFolder, read_manifest
from seewhy.settings import restore_config
from seewhy.steps import Run


def run(config: RunConfig, *, discard_stale: bool = False) -> dict[str, Any]:
    """Run all rounds, or go on where a killed run stopped. Returns what metrics.json then holds."""
    folder = RunFolder(config.output, seed=config.seed, shard_size=config.shard_size)
    with folder.lock():
        this = Run.open(folder, config, discard_stale=discard_stale)
        selections = this.select(this.describe())
        models = {"base": this.base}
        taught: dict[str, Sequence[Answer]] = {}
        metrics = this.measure(models, selections, taught)
        for round in range(1, config.rounds + 1):
            for arm in arms(config):
                name, before = arm.model(round), models[arm.model(round - 1)]
                if name in models:  # the method's own, from which this arm parts later
                    continue
                if arm.template:
                    taught[name] = this.fill_in(arm, taught[OURS.model(round)])
                elif round == 1:
                    taught[name] = this.synthesise(arm, selections)
                else:
                    taught[name] = this.filter(arm, round, this.sample(arm, round, before, selections))
                models[name] = this.tune(name, before, taught[name])
            metrics = this.measure(models, selections, taught)
        return metrics


def evaluate(run: str, split: str) -> dict[str, Any]:
    """Measure every model of a finished run on a split; the figures are written to RUN/metrics-SPLIT.json."""
    recorded = read_manifest(Path(run)).get("config")
    if recorded is None:
        raise SeeWhyError(f"{run} is no run folder: it has no manifest. Start a run with `seewhy run CONFIG.yaml`.")
    config = restore_config(recorded)
    config = replace(config, output=run, evaluate=replace(config.evaluate, split=split))
    folder = RunFolder(run, seed=config.seed, shard_size=config.shard_size)
    with folder.lock():
        this = Run.open(folder, config, record=False)
        models = this.models
        return this.measure(models, this.select(this.describe()), {}, name=f"metrics-{split}.json")


def count(config: RunConfig) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Of a finished run: model -> figure -> (hits, of), each with a number an image of `evaluate.split`."""
    folder = RunFolder(config.output, seed=config.seed, shard_size=config.shard_size)
    with folder.lock():
        this = Run.open(folder, config, record=False)
        stated = StatedConcepts.of(this.domain)
        return {
            m: counted(this.domain, this.predict(m, p), this.domain.matcher, stated) for m, p in this.models.items()
        }
