"""The `seewhy` command: one verb a function of the package. `seewhy --help` and `seewhy VERB --help` say it all.

A verb imports what it needs when it runs, so that help and mistakes are answered without waiting for torch.
"""

import resource
import sys
import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace
from rich.console import Console
from rich.text import Text

from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.run_folder import package_versions
from seewhy.settings import add_settings, check_options, explain, known_settings, read_config

DEMO_SETTINGS = Path(__file__).parent / "fieldguide" / "demo.yaml"

DESCRIPTION = """\
Teach a vision-language model to name what it sees and to show why.

examples:
  seewhy demo                                       the whole loop on the built-in field guide, on a CPU, no download
  seewhy run configs/fieldguide.yaml                on your data; started again, it goes on where it stopped
  seewhy run configs/fieldguide.yaml --tune.epochs 1
  seewhy evaluate runs/fieldguide --split val
  seewhy report runs/fieldguide
  seewhy explain runs/fieldguide photo.jpg          label, reasons, and where in the photo each reason is
  seewhy audit runs/fieldguide                      what became training data
  seewhy trace runs/fieldguide "train/Ivo Wren/003"
"""

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
The method beside every control (label sentence, label with the whole list, random candidates, class-level concepts):
the same images and queries, as many answers and steps, several seeds; one table, with paired intervals over images.

examples:
  seewhy compare configs/fieldguide.yaml --output runs/compare
  seewhy compare configs/fieldguide.yaml --seeds '[0, 1]' --rounds 2 --output runs/compare

Each seed is a run in OUTPUT/seed-N; stopped, it goes on where it was when the same command is given again. The figures
are written to OUTPUT/comparison.json. It takes about five times as long as a run, for each seed.
"""

EVALUATE = """\
Measure every round's model of a finished run on a split.

examples:
  seewhy evaluate runs/fieldguide
  seewhy evaluate runs/fieldguide --split val
"""

REPORT = """\
Write the page of a run: one HTML file with its table, its curve and test images with their reasons.

examples:
  seewhy report runs/fieldguide
"""

EXPLAIN = """\
What a run's last model calls a photo, how steady it is in that, and its reasons, each with a picture of where it is.

examples:
  seewhy explain runs/fieldguide photo.jpg
  seewhy explain runs/fieldguide *.jpg --output explained --json
  seewhy explain runs/fieldguide photo.jpg --round 1
  seewhy explain runs/fieldguide photo.jpg --base

The label and the reasons are those of the greedy answer. Confidence and support are shares of sampled answers that say
the same: how steady the model is, not how often it is right.
"""

AUDIT = """\
What became training data, by round and class: what was accepted and why the rest was not, how alike the answers are,
which classes are taught little but their name, which concepts are always or never selected. Also written to
RUN/audit.json. An unfinished run is audited as far as it has come.

examples:
  seewhy audit runs/fieldguide
  seewhy audit runs/fieldguide --json
"""

TRACE = """\
Where one training example came from: its descriptions, its concepts with scores, every round's candidates with what
became of them, and the answers that it taught.

examples:
  seewhy trace runs/fieldguide "train/Ivo Wren/003"            one image, all rounds
  seewhy trace runs/fieldguide "train/Ivo Wren/003/1/2"        one answer: round 1, number 2
  seewhy trace runs/fieldguide "train/Ivo Wren/003" --json
"""


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the examples."""


def verb_parser(description: str, usage: str) -> ArgumentParser:
    return ArgumentParser(
        description=description, usage=usage, formatter_class=HelpFormatter, exit_on_error=False, allow_abbrev=False
    )


def command_parser() -> ArgumentParser:
    run = verb_parser(RUN, "seewhy run CONFIG [--discard_stale true] [--SETTING VALUE ...]")
    run.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    stale = "Set outputs that were made with other settings aside, in discarded/, and make them again."
    run.add_argument("--discard_stale", type=bool, default=False, help=stale)
    add_settings(run)

    demo = verb_parser(DEMO, "seewhy demo [--output FOLDER]")
    demo.add_argument("--output", type=str, default="runs/demo", help="The run folder.")

    compare = verb_parser(COMPARE, "seewhy compare CONFIG [--seeds '[0, 1, 2]'] [--SETTING VALUE ...]")
    compare.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    compare.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="One run each.")
    add_settings(compare)

    evaluate = verb_parser(EVALUATE, "seewhy evaluate RUN [--split SPLIT]")
    evaluate.add_argument("run", metavar="RUN", type=str, help="the run folder")
    evaluate.add_argument("--split", type=Literal["train", "val", "test"], default="test", help="Images to measure on.")

    page = verb_parser(REPORT, "seewhy report RUN")
    page.add_argument("run", metavar="RUN", type=str, help="the run folder")

    explained = verb_parser(EXPLAIN, "seewhy explain RUN PHOTO [PHOTO ...] [--OPTION VALUE ...]")
    explained.add_argument("run", metavar="RUN", type=str, help="the run folder")
    explained.add_argument("photos", metavar="PHOTO", type=str, nargs="+", help="image files")
    explained.add_argument("--samples", type=int, default=8, help="Sampled answers behind confidence and support.")
    explained.add_argument("--round", type=int, default=None, help="Round of the model (default: the last).")
    explained.add_argument("--base", action="store_true", help="Ask the untuned model.")
    explained.add_argument("--output", type=str, default=None, help="Folder of the pictures (default: RUN/explained).")
    explained.add_argument("--json", action="store_true", help="Print JSON.")

    audit = verb_parser(AUDIT, "seewhy audit RUN [--json]")
    audit.add_argument("run", metavar="RUN", type=str, help="the run folder")
    audit.add_argument("--json", action="store_true", help="Print JSON.")

    trace = verb_parser(TRACE, "seewhy trace RUN EXAMPLE_ID [--json]")
    trace.add_argument("run", metavar="RUN", type=str, help="the run folder")
    trace.add_argument("id", metavar="EXAMPLE_ID", type=str, help="id of a training example or of an answer")
    trace.add_argument("--json", action="store_true", help="Print JSON.")

    parser = ArgumentParser(
        prog="seewhy",
        version=package_versions().get("seewhy", "from a source tree"),
        description=DESCRIPTION,
        formatter_class=HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    verbs = parser.add_subcommands(dest="verb", metavar="VERB")
    verbs.add_subcommand("demo", demo, help="the whole loop on the built-in field guide")
    verbs.add_subcommand("run", run, help="the whole loop on your data")
    verbs.add_subcommand("compare", compare, help="the method beside its controls, over seeds")
    verbs.add_subcommand("evaluate", evaluate, help="metrics on a split")
    verbs.add_subcommand("report", page, help="one self-contained HTML page")
    verbs.add_subcommand("explain", explained, help="label, reasons, and where in a photo they are")
    verbs.add_subcommand("audit", audit, help="what became training data")
    verbs.add_subcommand("trace", trace, help="where one training example came from")
    return parser


def parse(arguments: Sequence[str]) -> Namespace:
    """The verb and its arguments. Raises SeeWhyError for what it cannot understand."""
    takes_settings = arguments[:1] in (["run"], ["compare"])
    if takes_settings:
        check_options(arguments, {"help", "discard_stale", "seeds", *known_settings()})
    try:
        return command_parser().parse_args(arguments, defaults=not takes_settings)
    except ArgumentError as error:
        raise explain(error, "command line", {}) from error


def perform(verb: str, given: Namespace) -> None:
    """Do what the verb says, and show the results."""
    match verb:
        case "run":
            discard_stale = given.pop("discard_stale", False)
            run(read_config(given.pop("config"), given), discard_stale=discard_stale)
        case "demo":
            run(read_config(DEMO_SETTINGS, given), discard_stale=False)
        case "compare":
            from seewhy.comparison import compare
            from seewhy.report.table import print_comparison

            seeds = given.pop("seeds", [0, 1, 2])
            print_comparison(compare(read_config(given.pop("config"), given), seeds), Console())
        case "evaluate":
            from seewhy import loop
            from seewhy.report.table import print_results

            print_results(loop.evaluate(given.run, given.split), Console())
        case "report":
            from seewhy.report.page import write_page

            Console().print(f"Wrote {write_page(given.run)}", markup=False, soft_wrap=True, highlight=False)
        case "explain":
            from seewhy import explainer

            chosen = {"round": given.round, "base": given.base}
            said = explainer.explain(given.run, given.photos, **chosen, samples=given.samples, output=given.output)
            print(explainer.as_json(said)) if given.json else explainer.show(said, Console())
        case "audit":
            from seewhy.report.audit_table import audit_json, print_audit, write_audit

            audit = write_audit(given.run)
            print(audit_json(audit)) if given.json else print_audit(audit, Console())
        case "trace":
            import json

            from seewhy.report.trace import print_trace, trace

            found = trace(given.run, given.id)
            print(json.dumps(found, indent=2, ensure_ascii=False)) if given.json else print_trace(found, Console())


def run(config: RunConfig, *, discard_stale: bool) -> None:
    """The loop, then its results: the table, the page, and what it took."""
    start = time.monotonic()
    from seewhy import loop
    from seewhy.report.page import write_page
    from seewhy.report.table import print_results

    metrics = loop.run(config, discard_stale=discard_stale)
    console = Console()
    print_results(metrics, console)
    page = write_page(config.output)
    minutes = (time.monotonic() - start) / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(f"Took {minutes:.1f} minutes and at most {peak:.1f} GiB of memory in this process.", highlight=False)
    console.print(f"Wrote {page}", markup=False, soft_wrap=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given = parse(arguments or ["--help"])
        perform(given.verb, given[given.verb])
    except SeeWhyError as error:
        Console(stderr=True).print(Text(f"Error: {error}", style="red"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        say = "Stopped. Give the same command again, and it goes on where it stopped."
        Console(stderr=True).print(Text(say, style="yellow"), soft_wrap=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
