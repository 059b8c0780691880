"""What checksums cost: the share of a run's CPU time that is spent in making and verifying them.

Two runs: the loop without a model over --images images (bench/scale), which writes most for what it computes, and a
small run on the field guide with its model. Every function of `run/checksums.py` that reads all bytes is timed where it
is called, in the CPU time of its thread.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from bench import measure
from bench.scale.__main__ import FEW, world_of
from bench.scale.measured import stand_in
from bench.scale.world import TemplateSampler, settings
from seewhy import load_config
from seewhy.cli.verbs import DEMO_SETTINGS
from seewhy.config import RunConfig
from seewhy.run import checksums, loop

TIMED = ("seal", "is_whole", "file_digest")


class Spent:
    """CPU seconds in checksums, those in one another counted once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0
        self._inside = False

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def call(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return work(*arguments, **options)
            self._inside, start = True, time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                self._inside = False
                self.seconds += time.thread_time() - start
                self.calls += 1

        return call


@contextmanager
def timing() -> Iterator[Spent]:
    """Time the checksums of this process, wherever a module has imported them."""
    spent, replaced = Spent(), list[tuple[Any, str, Any]]()
    for name in TIMED:
        original = getattr(checksums, name)
        for module in [module for key, module in sys.modules.items() if key.startswith("seewhy.")]:
            if vars(module).get(name) is original:
                replaced.append((module, name, original))
                setattr(module, name, spent.timed(original))
    try:
        yield spent
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)


def share(what: str, config: RunConfig) -> tuple[str, int, float, float, float]:
    """Run and return the calls of checksums, their CPU seconds, those of the run, and the share in per cent."""
    with timing() as spent:
        start = time.process_time()
        loop.run(config)
        whole = time.process_time() - start
    return what, spent.calls, spent.seconds, whole, 100 * spent.seconds / whole


def guide(folder: Path) -> RunConfig:
    """Return the demo's settings for one round on a few train images of each species."""
    config = load_config(DEMO_SETTINGS)
    data = replace(config.data, per_class=3)
    evaluate = replace(config.evaluate, split="val", consistency=False, fluency=False, bootstrap=100)
    return replace(config, output=str(folder / "guide"), rounds=1, data=data, evaluate=evaluate, minimum_support=0.0)


def main(arguments: list[str] | None = None) -> None:
    parser = measure.parser("bench.checksums", __doc__ or "")
    parser.add_argument("--images", type=int, help="of the loop without a model (default: 10000)")
    parser.add_argument("--without-guide", action="store_true", help="leave out the run on the field guide")
    options = parser.parse_args(arguments)
    measure.begin(options)
    images = options.images or (500 if options.quick else 10_000)
    with tempfile.TemporaryDirectory() as place:
        folder, rows = Path(place), []
        if not options.without_guide:
            rows.append(share("field guide, 3 images a species, 1 round", guide(folder)))
        world = world_of(folder, images, min(FEW, images // 5))
        stand_in(world, TemplateSampler)
        rows.append(share(f"{images:,} images without a model, 2 rounds", settings(world, folder / "run", queries=2)))
    columns = ["run", "checksums", "s in them", "s in all", "%"]
    measure.show("CPU time in checksums", columns, [list(row) for row in rows])
    figures = {"checksums_percent_scale": rows[-1][-1]}
    measure.report(figures | ({} if options.without_guide else {"checksums_percent_guide": rows[0][-1]}), options.json)


if __name__ == "__main__":
    main()
