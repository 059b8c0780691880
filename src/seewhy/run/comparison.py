"""`seewhy compare`: the method against its controls on the same images, queries, answers and steps, over seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.proof.comparison import arm_figures, differences
from seewhy.results import Comparison, Counts
from seewhy.results_json import write
from seewhy.run import loop
from seewhy.run.checks import refuse_several_processes
from seewhy.run.stages import BASE, CONTROLS, OURS, ModelKey, arms


def compare(config: RunConfig, seeds: Sequence[int]) -> Comparison:
    """Run the method beside its controls (`config.controls`, or else all of them) for each seed, and compare them.

    Each seed is a run of its own in OUTPUT/seed-N, and goes on where it was stopped. The comparison is also written to
    OUTPUT/comparison.json. Raises SeeWhyError where no seed is given, or one twice.
    """
    refuse_several_processes()
    if not seeds or len(set(seeds)) < len(seeds):
        raise SeeWhyError(f"The seeds are {list(seeds)}; name at least one, and each once: --seeds '[0, 1, 2]'.")
    every_arm: Any = {"controls": config.controls or tuple(CONTROLS), "keep_going": True}  # as many rounds for all
    runs = [replace(config, output=str(Path(config.output) / f"seed-{seed}"), seed=seed, **every_arm) for seed in seeds]
    for run in runs:
        loop.run(run, stop_without_words=loop.stops_without_words(config))
    counts = [loop.count(run) for run in runs]
    last = config.rounds
    settings: Any = {"resamples": config.evaluate.bootstrap, "seed": config.seed}

    def of(model: ModelKey) -> list[Counts]:
        return [of_seed[model] for of_seed in counts]

    found = Comparison(
        split=config.evaluate.split,
        seeds=tuple(seeds),
        rounds=last,
        base=arm_figures(of(BASE), **settings),
        rounds_of={
            arm.key: tuple(arm_figures(of(arm.model(round)), **settings) for round in range(1, last + 1))
            for arm in arms(runs[0])
        },
        ours_minus={
            arm.key: differences(counts[0][BASE], of(OURS.model(last)), of(arm.model(last)), **settings)
            for arm in arms(runs[0])
            if arm != OURS
        },
    )
    write(Path(config.output) / Comparison.FILE, found)
    return found
