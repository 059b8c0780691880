"""One whole round on the field guide (describe, select, synthesise, tune, measure), with sharing on and off.

Settings are those of configs/fieldguide.yaml with one round; any further `--group.setting value` overrides them. The
pictures are drawn once, before the clock starts; each run has a fresh folder. With --quick there are two training
images and one test image a species instead of thirty and twenty, and each is run once.
"""

import json
import sys
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench import measure
from seewhy.config import RunConfig
from seewhy.fieldguide.guide import ENCODER, IMAGES, make_guide
from seewhy.method.encoder import Encoder
from seewhy.run import loop
from seewhy.settings import load_config

CONFIG = Path(__file__).parents[1] / "configs" / "fieldguide.yaml"
QUICK_IMAGES = {"train": 2, "val": 1, "test": 1}
SHARED, UNSHARED = "shared", "unshared"


def settings(data: Path, output: Path, options: Namespace, overrides: Sequence[str], *, share_image: bool) -> RunConfig:
    of_data = {"source": data / "images", "concepts": data / "concepts.yaml", "truth": data / "truth.jsonl"}
    return load_config(
        CONFIG,
        [
            *("--output", str(output), "--rounds", "1", "--model.device", options.device),
            *(text for key, path in of_data.items() for text in (f"--data.{key}", str(path))),
            *overrides,
            *("--model.share_image", str(share_image).lower()),
        ],
    )


def stage_seconds(run: Path) -> dict[str, float]:
    """Seconds in each stage of a run, by its own record."""
    seconds: dict[str, float] = defaultdict(float)
    for line in (run / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        seconds[event.get("stage", "")] += event.get("seconds", 0.0)
    return dict(seconds)


def main(arguments: list[str] | None = None) -> None:
    parser = measure.parser("bench.loop", __doc__ or "")
    options, overrides = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    repetitions = measure.begin(options)
    repetitions = options.repetitions or (1 if options.quick else repetitions)
    images = QUICK_IMAGES if options.quick else IMAGES
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "guide"
        make_guide(data, images)
        Encoder(str(ENCODER), options.device)  # imports what the first run would be charged for
        stages: dict[str, list[Mapping[str, float]]] = {SHARED: [], UNSHARED: []}

        def round_of(name: str) -> None:
            output = Path(folder) / f"{name}-{len(stages[name])}"
            loop.run(settings(data, output, options, overrides, share_image=name == SHARED))
            stages[name].append(stage_seconds(output))

        works = {name: lambda name=name: round_of(name) for name in (SHARED, UNSHARED)}
        seconds = measure.interleaved(works, repetitions, warm_up=0)  # a round is long: its start weighs little
    show(images, seconds, stages)
    figures = {f"loop_seconds_{name}": median(taken) for name, taken in seconds.items()}
    measure.report({"loop_ratio_unshared": measure.ratio(seconds, UNSHARED, SHARED), **figures}, options.json)


def show(
    images: Mapping[str, int],
    seconds: Mapping[str, Sequence[float]],
    stages: Mapping[str, Sequence[Mapping[str, float]]],
) -> None:
    columns = ["stage", "shared, s", "unshared, s", "unshared / shared"]
    rows = []
    for stage in stages[SHARED][0]:
        if stage:
            shared, unshared = (median(run[stage] for run in stages[name]) for name in (SHARED, UNSHARED))
            rows.append([stage, shared, unshared, unshared / shared if shared else "-"])
    rows.append(
        ["whole round", median(seconds[SHARED]), median(seconds[UNSHARED]), measure.ratio(seconds, UNSHARED, SHARED)]
    )
    title = f"A round: {images['train']} training and {images['test']} test images a species, 24 species"
    measure.show(title, columns, rows)


if __name__ == "__main__":
    main()
