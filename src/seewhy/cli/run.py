"""The verbs that make a run: demo, run, compare."""

import resource
import time
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.verb import Verb
from seewhy.config import RunConfig
from seewhy.settings import add_settings, read_config

DEMO_SETTINGS = Path(__file__).parents[1] / "fieldguide" / "demo.yaml"

RUN = """\
Describe, select, synthesise, tune, evaluate, sample, filter, and again, on the data that CONFIG names.

examples:
  seewhy run configs/fieldguide.yaml
  seewhy run configs/fieldguide.yaml --tune.epochs 1 --output runs/one_epoch
  seewhy run configs/fieldguide.yaml --rounds 2 --controls '[nl]'
  seewhy run configs/fieldguide.yaml --tune.epochs 3 --discard_stale true

Killed or stopped, a run goes on where it was when the same command is given again. Settings below may stand in CONFIG
(`tune:`, then `epochs: 1` indented) or on the command line, which wins. Relative paths are relative to the current
directory, not to CONFIG.
"""

DEMO = """\
Run the whole loop on the built-in field guide, on a CPU and without a download. It ends with a table and a page.

examples:
  seewhy demo
  seewhy demo --output runs/demo
"""

COMPARE = """\
The method beside its controls (label sentence, label with the whole list, random candidates, class-level concepts):
the same images and queries, as many answers and steps, several seeds; one table, with intervals over seeds and
images, these in pairs.

examples:
  seewhy compare configs/fieldguide.yaml --output runs/compare
  seewhy compare configs/fieldguide.yaml --seeds '[0, 1]' --rounds 2 --output runs/compare
  seewhy compare configs/fieldguide.yaml --controls '[nl, lge]' --output runs/compare

Each seed is a run in OUTPUT/seed-N; stopped, it goes on where it was when the same command is given again. The figures
are written to OUTPUT/comparison.json. The controls are those of the settings (`controls`), or all four where these name
none; others can be added later. With all of them it takes about five times as long as a run, for each seed.
"""


def run_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    stale = "Set outputs that were made with other settings aside, in discarded/, and make them again."
    parser.add_argument("--discard_stale", type=bool, default=False, help=stale)
    add_settings(parser)


def run(given: Namespace) -> None:
    discard_stale = given.pop("discard_stale", False)
    run_and_show(read_config(given.pop("config"), given), discard_stale=discard_stale)


def demo_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=str, default="runs/demo", help="The run folder.")


def demo(given: Namespace) -> None:
    run_and_show(read_config(DEMO_SETTINGS, given), discard_stale=False)


def compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="One run each.")
    add_settings(parser)


def compare(given: Namespace) -> None:
    from seewhy.report.page import write_page
    from seewhy.report.terminal import print_comparison
    from seewhy.run import comparison

    seeds = given.pop("seeds", [0, 1, 2])
    config = read_config(given.pop("config"), given)
    print_comparison(comparison.compare(config, seeds), Console())
    Console().print(f"Wrote {write_page(config.output)}", markup=False, soft_wrap=True, highlight=False)


def run_and_show(config: RunConfig, *, discard_stale: bool) -> None:
    """The loop, then its results: the table, the page, and what it took."""
    start = time.monotonic()
    from seewhy.report.doubts import of_run
    from seewhy.report.page import write_page
    from seewhy.report.terminal import print_collapses, print_results
    from seewhy.run import loop

    metrics = loop.run(config, discard_stale=discard_stale)
    console = Console()
    print_results(metrics, console)
    print_collapses(of_run(Path(config.output), metrics), console)
    page = write_page(config.output)
    minutes = (time.monotonic() - start) / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(f"Took {minutes:.1f} minutes and at most {peak:.1f} GiB of memory in this process.", highlight=False)
    console.print(f"Wrote {page}", markup=False, soft_wrap=True, highlight=False)


VERBS = (
    Verb(
        "demo", "the whole loop on the built-in field guide", DEMO, "seewhy demo [--output FOLDER]",
        demo_arguments, demo,
    ),
    Verb(
        "run", "the whole loop on your data", RUN, "seewhy run CONFIG [--discard_stale true] [--SETTING VALUE ...]",
        run_arguments, run, takes_settings=True,
    ),
    Verb(
        "compare", "the method beside its controls, over seeds", COMPARE,
        "seewhy compare CONFIG [--seeds '[0, 1, 2]'] [--SETTING VALUE ...]", compare_arguments, compare,
        takes_settings=True,
    ),
)  # fmt: skip
