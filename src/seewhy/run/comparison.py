"""The method against its controls: same images, same queries, as many answers and steps, several seeds; one table."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.proof.comparison import Counts, arm_figures, difference
from seewhy.run import loop
from seewhy.run.stages import BASE, CONTROLS, OURS, Arm, ModelKey, arms
from seewhy.run.storage import write_atomically


def compare(config: RunConfig, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the method beside its controls (`config.controls`, or else all of them) for each seed.

    Returns what OUTPUT/comparison.json then holds.

    Each seed is a run of its own in OUTPUT/seed-N, and goes on where it was stopped. The comparison holds, for every
    arm, its figures after each round (mean over seeds, its interval, and each seed's), and after the last round how
    much better the method is, with 95 % intervals over seeds and images, images in pairs.
    """
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

    def better(arm: Arm) -> dict[str, tuple[float, float, float]]:
        ours, theirs = of(OURS.model(last)), of(arm.model(last))
        found = {name: difference(name, ours, theirs, **settings) for name in counts[0][BASE]}
        return {name: value for name, value in found.items() if value}

    compared = {
        "split": config.evaluate.split,
        "seeds": list(seeds),
        "rounds": last,
        "base": arm_figures(of(BASE), **settings),
        "rounds_of": {
            arm.key: [arm_figures(of(arm.model(round)), **settings) for round in range(1, last + 1)]
            for arm in arms(runs[0])
        },
        "ours_minus": {arm.key: better(arm) for arm in arms(runs[0]) if arm != OURS},
    }
    write_atomically(Path(config.output) / "comparison.json", json.dumps(compared, indent=2).encode())
    return compared
