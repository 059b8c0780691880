"""SeeWhy's own part of a run, everything that is not the model, at 1,000 to a million images.

The loop's own code runs over drawn data with a sampler that answers from templates at once (bench/scale/world.py), by
the default settings over two rounds: 30 descriptions an image, and --queries questions about it in each round, with
three candidates each. Every measured work is a process of its own, and memory is the most that was resident, with
Python, torch and all. In this order:

    start     a run is begun, ended at the first question, and begun again: seconds from the shell until that question
    loop      both rounds, with the seconds and the peak of every step
    classes   the same with many classes
    million   load, describe and select of a million images, one description each
    select    the scoring of descriptions of 1,024 dimensions by the default rule and by the paper's

The growth exponent is the slope of a step's seconds of CPU over the images, on logarithmic axes, between the two
largest sizes. A size takes some 15 KB of disk an image.
"""

import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import log
from pathlib import Path
from typing import Any

from bench import measure
from bench.scale.world import make_world
from bench.selection import short, write_descriptions

STEPS = ("start", "loop", "classes", "million", "select")
ROOT = Path(__file__).parents[2]
EACH = 30
"""Descriptions an image."""
FEW, MANY = 200, 10_000
"""Classes."""
LEAST = 1.0
"""Seconds of CPU below which a step's growth is not told."""


def parsed(arguments: list[str] | None) -> Namespace:
    parser = measure.parser("bench.scale", __doc__ or "")
    parser.add_argument("--steps", type=lambda text: text.split(","), default=list(STEPS), help=",".join(STEPS))
    parser.add_argument("--images", type=measure.numbers, help="start and loop (default: 1000,10000,100000)")
    parser.add_argument("--classes", type=measure.numbers, default=[FEW, MANY], help=f"(default: {FEW},{MANY})")
    parser.add_argument("--queries", type=int, default=2, help="about an image in each round (default: 2; a run's: 8)")
    parser.add_argument("--million", type=int, help="images of the step of that name (default: 1000000)")
    parser.add_argument("--descriptions", type=int, help="of the step select (default: 1000000)")
    parser.add_argument(
        "--folder", type=Path, help="where to work; the data made there stay (default: a temporary one)"
    )
    options = parser.parse_args(arguments)
    options.images = options.images or ([250, 1000] if options.quick else [1000, 10_000, 100_000])
    options.million = options.million or (2000 if options.quick else 1_000_000)
    options.descriptions = options.descriptions or (10_000 if options.quick else 1_000_000)
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    measure.begin(options)
    figures: dict[str, float] = {}
    with working_folder(options.folder) as folder:
        few, many = options.classes
        if "start" in options.steps:
            figures |= starts(folder, options.images, options.classes)
        if "loop" in options.steps:
            figures |= loops(folder, options.images, few, options.queries)
        if "classes" in options.steps:
            figures |= many_classes(folder, options.images, many, options.queries)
        if "million" in options.steps:
            figures |= million(folder, options.million, few)
        if "select" in options.steps:
            figures |= selection(folder, options.descriptions, few)
    measure.report(figures, options.json)


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """Give a folder: the given one, or one that is removed afterwards."""
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def world_of(folder: Path, images: int, classes: int) -> Path:
    """Return the folder of a data set, which is made where it is missing."""
    world = folder / f"{images}-images-{classes}-classes"
    if not (world / "concepts.yaml").exists():
        make_world(world, images, classes)
    return world


def apart(work: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Return what a work of `measured.py` finds in a process of its own, and when that was started."""
    with tempfile.TemporaryDirectory() as place:
        found = Path(place) / "found.json"
        command = [sys.executable, "-m", "bench.scale.measured", work, str(folder), json.dumps(options), str(found)]
        began = time.time()
        subprocess.run(command, check=True)
        return {"began": began, **json.loads(found.read_text())}


def starts(folder: Path, sizes: Sequence[int], classes: Sequence[int]) -> dict[str, float]:
    """Begin runs twice. A number of classes above that of the images is left out."""
    figures, rows = dict[str, float](), list[list[str | float]]()
    for count in classes:
        for size in (size for size in sizes if size >= count):
            world = world_of(folder, size, count)
            for name in ("first", "second"):
                found = apart("start", world)
                seconds = found["asked"] - found["began"]
                rows.append([f"{size:,} images, {count:,} classes", name, seconds, found["cpu"], found["gb"]])
                key = short(size) if count == min(classes) else f"{short(size)}_{short(count)}_classes"
                figures |= {f"{name}_start_s_{key}": seconds, f"{name}_start_gb_{key}": found["gb"]}
                figures[f"{name}_start_cpu_s_{key}"] = found["cpu"]
    measure.show("A start, until the first stage asks for work", ["data", "start", "s", "CPU s", "peak GB"], rows)
    return figures


def loops(folder: Path, sizes: Sequence[int], classes: int, queries: int) -> dict[str, float]:
    """Run the whole loop at each size."""
    found = {size: apart("whole_loop", world_of(folder, size, classes), queries=queries)["parts"] for size in sizes}
    figures = {
        f"loop_s_{short(size)}": sum(part["seconds"] for part in parts.values()) for size, parts in found.items()
    }
    figures |= {f"loop_peak_gb_{short(size)}": peak(parts) for size, parts in found.items()}
    for size, parts in found.items():
        figures |= {f"{name}_s_{short(size)}": part["seconds"] for name, part in parts.items()}
        figures |= {f"{name}_cpu_s_{short(size)}": part["cpu"] for name, part in parts.items()}
        figures |= {f"{name}_gb_{short(size)}": part["gb"] for name, part in parts.items()}
    exponents = growth(found)
    figures |= {f"growth_exponent_{name}": exponent for name, exponent in exponents.items()}
    if exponents:
        figures["growth_exponent_max"] = max(exponents.values())
    columns = [text for size in sizes for text in (f"{size:,}: s", "CPU s", "GB")]
    rows = [
        [name, *(parts.get(name, {}).get(key, 0.0) for parts in found.values() for key in ("seconds", "cpu", "gb")),
         exponents.get(name, "-")]
        for name in found[max(sizes)]
    ]  # fmt: skip
    measure.show(f"The loop without the model, {classes} classes", ["step", *columns, "exponent"], rows)
    return figures


def peak(parts: Mapping[str, Mapping[str, float]]) -> float:
    return max(part["gb"] for part in parts.values())


def growth(found: Mapping[int, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return step -> the exponent by which its seconds of CPU grow from the second largest size to the largest one."""
    if len(found) < 2:
        return {}
    small, large = sorted(found)[-2:]
    times = {name: (found[small].get(name, {}).get("cpu", 0.0), part["cpu"]) for name, part in found[large].items()}
    return {name: log(b / a) / log(large / small) for name, (a, b) in times.items() if a > 0 and b >= LEAST}


def many_classes(folder: Path, sizes: Sequence[int], classes: int, queries: int) -> dict[str, float]:
    """Run the loop at the smallest size that has an image of each class."""
    if not (enough := [size for size in sorted(sizes) if size >= classes]):
        return {}
    parts = apart("whole_loop", world_of(folder, enough[0], classes), queries=queries)["parts"]
    title = f"The loop, {enough[0]:,} images of {classes:,} classes"
    measure.show(title, ["step", "s", "peak GB"], [[name, part["seconds"], part["gb"]] for name, part in parts.items()])
    key = f"{short(enough[0])}_{short(classes)}_classes"
    figures = {f"loop_peak_gb_{key}": peak(parts)}
    return figures | {f"{name}_s_{key}": part["seconds"] for name, part in parts.items()}


def million(folder: Path, images: int, classes: int) -> dict[str, float]:
    """Load, describe and select, one description an image, by the default rule and by the paper's."""
    rules = ("image", "unlisted")
    parts = apart("descriptions", world_of(folder, images, classes), rules=rules, asked=(1, 1))["parts"]
    title = f"{images:,} images, one description each"
    measure.show(title, ["step", "s", "peak GB"], [[name, part["seconds"], part["gb"]] for name, part in parts.items()])
    named = {name.replace(" ", "_"): part for name, part in parts.items()}
    return {
        f"{name}_{unit}_{short(images)}_images": part[key]
        for name, part in named.items()
        for unit, key in (("s", "seconds"), ("gb", "gb"))
    }


def selection(folder: Path, descriptions: int, classes: int) -> dict[str, float]:
    """Score the same embeddings by both rules."""
    path, found = folder / "descriptions.npy", dict[str, Mapping[str, float]]()
    write_descriptions(path, descriptions // EACH * EACH)
    for rule in ("image", "unlisted"):
        found[rule] = apart("scoring", folder, rule=rule, classes=classes, each=EACH)["parts"]["select"]
    path.unlink()
    rows = [[rule, part["seconds"], part["gb"]] for rule, part in found.items()]
    measure.show(f"Selection from {descriptions:,} embeddings, {classes} classes", ["rule", "s", "peak GB"], rows)
    key = short(descriptions)
    ratio = found["unlisted"]["seconds"] / found["image"]["seconds"]
    figures = {f"select_s_{key}": found["unlisted"]["seconds"], f"select_gb_{key}": found["unlisted"]["gb"]}
    return figures | {f"select_s_{key}_papers_rule": found["image"]["seconds"], "select_ratio_papers_rule": ratio}


if __name__ == "__main__":
    main()
