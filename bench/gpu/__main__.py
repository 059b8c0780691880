"""What a GPU does with SeeWhy: speed of the card, tuning and sampling of 7B shapes, the GPU's tests, the demo.

Parts, in their order: card; each of --shapes (random weights, sampling, tuning, merge, profiles, minutes of a CUB-200
round); tests (`pytest -m gpu`); demo (`seewhy demo`). Every part is a process of its own with a time of its own; one
that fails leaves an `error_...` among the figures and the others go on. The figures are in FILE as soon as they are
known, the profiles in a text file beside it; a FILE that exists is added to. Needs no internet and no installation:
src/ is put on the path of what it starts, and bench/gpu_wheels.txt names what a machine with torch and transformers
may lack.
"""

import gc
import os
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

import torch

from bench import measure
from bench.gpu import parts
from bench.gpu.card import measure_card
from bench.gpu.figures import Figures
from bench.gpu.projection import projected
from bench.gpu.sampling import measure_sampling
from bench.gpu.shapes import SHAPES, shapes_of
from bench.gpu.tuning import measure_tuning

PARTS = ("card", "shapes", "tests", "demo")
MEASURED = ("sampling", "tuning")
SECONDS = {"card": 40.0, "sampling": 100.0, "tuning": 90.0, "tests": 110.0, "demo": 300.0}
"""The most that each part may take."""
REPETITIONS = 3


def parsed(arguments: list[str] | None) -> Namespace:
    examples = (
        "examples:\n  python -m bench.gpu --json figures.json\n"
        "  python -m bench.gpu --device cpu --shapes tiny            what it does, in a minute on a CPU\n"
        "  python -m bench.gpu --parts shapes --shapes llava-7b --measure tuning\n"
        "  python -m bench.gpu --parts none --earlier monday.json tuesday.json    two runs' figures in one"
    )
    parser = ArgumentParser(
        "python -m bench.gpu", description=f"{__doc__}\n{examples}", formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), metavar="FILE", help="default: gpu.json")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=device, help=f"here: {device}")
    parser.add_argument("--shapes", type=shapes_of, default=shapes_of("7b"), help=", ".join([*SHAPES, "tiny", "7b"]))
    parser.add_argument(
        "--parts", type=_names, default=list(PARTS), help=f"{','.join(PARTS)} (default: all of them), or none"
    )
    parser.add_argument("--measure", type=_names, default=list(MEASURED), help=f"on a shape: {','.join(MEASURED)}")
    parser.add_argument("--tests", default="", metavar="NAMES", help="tests to run, as for pytest -k (default: all)")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], metavar="FILE", help="figures to begin with")
    parser.add_argument("--seconds", type=float, default=480.0, help="the most that all of it may take (default: 480)")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help=f"of a step (default: {REPETITIONS})")
    parser.add_argument("--threads", type=int, default=min(8, os.cpu_count() or 1), help="CPU threads of a part")
    parser.add_argument("--only", help="card or a shape: measure it in this process")
    options = parser.parse_args(arguments)
    for option, known in (("parts", PARTS), ("measure", MEASURED)):
        if unknown := set(getattr(options, option)) - set(known):
            parser.error(f"--{option} knows no {', '.join(sorted(unknown))}, only {', '.join(known)} or none")
    return options


def _names(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    if options.only:
        measure_here(options)
        return
    began = time.monotonic()
    path = options.json.absolute()
    figures = Figures.after([*options.earlier, *([path] if path.exists() else [])], path, began + options.seconds)
    with tempfile.TemporaryDirectory() as folder:
        run_parts(options, figures, Path(folder))
    for name in options.shapes:
        figures.add(**projected(figures.known, name, SHAPES[name]))
    figures.add(bench_seconds=time.monotonic() - began)


def run_parts(options: Namespace, figures: Figures, folder: Path) -> None:
    """Run the parts that are asked for, one after another, each for its time or what is left of the whole."""
    passed_on = ["--device", options.device, "--repetitions", str(options.repetitions)]
    passed_on += ["--threads", str(options.threads), "--measure", ",".join(options.measure)]
    shape_seconds = sum(SECONDS[measured] for measured in options.measure)
    measured = ["card"] * ("card" in options.parts) + options.shapes * ("shapes" in options.parts)
    for part in [*measured, *(part for part in ("tests", "demo") if part in options.parts)]:
        figures.begin(part)
        if figures.late(part):
            continue
        seconds = min(SECONDS.get(part, shape_seconds), figures.until - time.monotonic())
        print(f"-- {part}, {seconds:.0f} s at most", flush=True)
        began = time.monotonic()
        if part == "tests":
            parts.run_tests(options.device, seconds, figures, folder, options.tests)
        elif part == "demo":
            tiny = all(name.startswith("tiny") for name in options.shapes)
            parts.run_demo(options.device, seconds, figures, folder, tiny=tiny)
        else:
            parts.run_measurements(part, passed_on, seconds, figures, folder)
            _append(tables_of(folder / f"{part}.json"), tables_of(options.json))
        figures.add(**{f"seconds_of_{part}": time.monotonic() - began})


def measure_here(options: Namespace) -> None:
    """Measure the card or one shape in this process."""
    measure.limit_threads(options.threads)
    gc.freeze()  # what imports left: measure.seconds_of would go through it before every run
    figures = Figures(options.json, time.monotonic() + options.seconds)
    if options.only == "card":
        measure_card(options.device, figures)
        return
    name, shape = options.only, SHAPES[options.only]
    with figures.attempt(f"build_{name}"):
        began = time.monotonic()
        vlm = shape.build(options.device)
        measure.finish()
        figures.add(**{f"build_seconds_{name}": time.monotonic() - began})
        tables = tables_of(options.json)
        for measured, work in (("sampling", measure_sampling), ("tuning", measure_tuning)):
            if measured in options.measure:
                figures.add(**{f"machine_{measured}_{name}": measure.machine(options.device, options.threads)})
                work(vlm, name, shape, figures, options.repetitions, tables)


def tables_of(path: Path) -> Path:
    """Return the file of the profiles' tables, beside that of the figures."""
    return path.with_name(f"{path.stem}_profiles.txt")


def _append(source: Path, target: Path) -> None:
    if source.exists():
        with target.open("a", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
