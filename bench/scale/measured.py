"""What `bench.scale` measures, each in a process of its own: `python -m bench.scale.measured WORK FOLDER OPTIONS FILE`.

The loop's own code runs unchanged; where it would load a model it gets the templates' sampler, and where it would tune,
a folder that stands for the tuned model.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import measure
from bench.scale.meter import Meter
from bench.scale.world import TemplateSampler, bank, settings
from bench.selection import unit
from seewhy.config import SelectConfig
from seewhy.domain.concepts import load_concepts
from seewhy.domain.questions import Questions
from seewhy.records import Description, Example, Prompt, Sampling

PARTS = {
    "describe": "describe", "check_support": "support", "select": "select", "synthesise": "answers",
    "tune": "tune", "sample": "candidates", "filter": "filter", "predict": "predictions",
}  # fmt: skip
"""The steps of a run, and what the tables call them."""


class Asked(Exception):
    """The first stage with work to do has asked the sampler for it."""


class Stopping(TemplateSampler):
    """Ends the process's run at the first question."""

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        raise Asked


class StandIn:
    """Takes the place of `run.models.Loaded`."""

    def __init__(self, sampler: TemplateSampler) -> None:
        self._sampler = sampler

    def sampler(self, _path: Path) -> TemplateSampler:
        return self._sampler

    def model(self, _path: Path, *, four_bit: bool = False) -> None:
        return None

    def release(self) -> None:
        return None


def stand_in_tune(_model: None, turns: Sequence[Any], _config: Any, folder: Path, *_rest: Any, **_named: Any) -> None:
    """Leave a folder where a tuned model would be."""
    for name in ("adapter", "model"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps({"turns": len(turns)}))


def stand_in(world: Path, kind: type[TemplateSampler]) -> None:
    """Put the stand-ins where the loop looks for a model."""
    from seewhy.run import steps

    sampler = kind(load_concepts(world / "concepts.yaml"), Questions.for_noun("bird").describe)
    patched: Any = steps
    patched.Loaded = lambda *_arguments: StandIn(sampler)
    patched.tune = stand_in_tune


def metered_run(meter: Meter, steps: Mapping[str, str] = PARTS) -> None:
    """Meter steps of all runs of this process, and how they are opened."""
    from seewhy.run import loop
    from seewhy.run.evaluation import Evaluation
    from seewhy.run.steps import Run

    loop.open_run = meter.metered("load", loop.open_run)
    for method, name in steps.items():
        setattr(Run, method, meter.metered(name, getattr(Run, method)))
    for method in ("measure", "gate"):
        setattr(Evaluation, method, meter.metered("measure", getattr(Evaluation, method)))


def start(world: Path, _options: Any) -> dict[str, Any]:
    """Start a run and end it where the first stage asks for work."""
    from seewhy.run import loop

    stand_in(world, Stopping)
    try:
        loop.run(settings(world, world / "run"))
    except Asked:
        return {"asked": time.time(), "cpu": time.process_time(), "gb": measure.highest_resident() / 1e9}
    raise RuntimeError("no stage has asked for work")


def whole_loop(world: Path, options: Any) -> dict[str, Any]:
    """Run both rounds."""
    from seewhy.run import loop

    stand_in(world, TemplateSampler)
    meter = Meter()
    metered_run(meter)
    with meter.part("rest"):
        loop.run(settings(world, world / "run", queries=options["queries"]))
    return {"parts": meter.report()}


def descriptions(world: Path, options: Any) -> dict[str, Any]:
    """Load, describe, and select by each rule of `options["rules"]`."""
    from seewhy.run import loop
    from seewhy.run.folder import RunFolder

    stand_in(world, TemplateSampler)
    meter = Meter()
    metered_run(meter, {"describe": PARTS["describe"]})
    for rule in options["rules"]:
        config = settings(world, world / "run", rule=rule, asked=options["asked"])
        folder = RunFolder(config.output, seed=config.seed, shard_size=config.shard_size)
        with folder.lock(), loop.open_run(folder, config, discard_stale=True) as this:
            this.describe()
            _ = this.encoder, this.concepts_CE  # loading is not selecting
            with meter.part(f"select {rule}"):
                this.select()
    return {"parts": meter.report()}


def scoring(folder: Path, options: Any) -> dict[str, Any]:
    """Select from embeddings alone, of 1,024 dimensions in a memory-mapped file, without an encoder or a run."""
    from seewhy.method.select import select

    meter = Meter()
    concepts = bank(options["classes"])
    all_concepts = sorted({concept for phrases in concepts.values() for concept in phrases})
    embedded_DE = np.load(folder / "descriptions.npy", mmap_mode="r")
    each, labels = options["each"], list(concepts)
    examples = [Example(str(i), "", "", labels[i % len(labels)], "train") for i in range(len(embedded_DE) // each)]
    described = [Description(example.id, "", 0, "") for example in examples for _ in range(each)]
    concepts_CE = unit(np.random.default_rng(1), len(all_concepts))
    with meter.part("select"):
        select(
            examples, described, embedded_DE, concepts, all_concepts, concepts_CE, SelectConfig(rule=options["rule"])
        )
    return {"parts": meter.report()}


WORKS: dict[str, Callable[[Path, Any], dict[str, Any]]] = {
    work.__name__: work for work in (start, whole_loop, descriptions, scoring)
}


def main() -> None:
    name, folder, options, file = sys.argv[1:]
    measure.limit_threads(min(2, int(os.environ.get("OMP_NUM_THREADS", 2))))
    Path(file).write_text(json.dumps(WORKS[name](Path(folder), json.loads(options))))


if __name__ == "__main__":
    main()
