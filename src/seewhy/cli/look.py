"""The verbs that look at a run: evaluate, report, explain, audit, trace."""

import json
from typing import Literal

from jsonargparse import ActionYesNo, ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.verb import Verb, trust_argument
from seewhy.config import EngineConfig
from seewhy.settings import check_range, walk

EVALUATE = """\
Measure every round's model of a finished run on a split; the figures go to RUN/metrics-SPLIT.json.

examples:
  seewhy evaluate runs/fieldguide
  seewhy evaluate runs/fieldguide --split val
  seewhy evaluate runs/cub200 --data configs/dogs.yaml       models tuned on one data set, measured on another
  seewhy evaluate runs/fieldguide --consistency true         with CS, where the run itself was measured without it
"""

REPORT = """\
Write the page of a run, or of a comparison: one HTML file with the figures beside the alternatives, what to doubt, the
curves, and images with the reasons that were stated of them and where the model looks when it states them. What
`seewhy faithfulness`, `seewhy general` and `seewhy judge` found stands on it too.

examples:
  seewhy report runs/fieldguide
  seewhy report runs/fieldguide --no_heatmaps      loads no model: shows where it looks as far as that is known
  seewhy report runs/compare                       the folder of a comparison over seeds

Where the model looks is found once, image by image, and kept in RUN/heatmaps: stopped, it goes on where it was.
"""

EXPLAIN = """\
What a run's best model calls a photo, how steady it is in that, and its reasons, each with a picture of where it is.

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


def of_a_run(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=str, help="the run folder")


def evaluate_arguments(parser: ArgumentParser) -> None:
    of_a_run(parser)
    parser.add_argument("--split", type=Literal["train", "val", "test"], default="test", help="Images to measure on.")
    other = "YAML file of settings whose data set to measure on, in place of the run's own."
    parser.add_argument("--data", metavar="CONFIG", type=str, default=None, help=other)
    described = "Measure CS, for which the images are described (default: as in the run)."
    parser.add_argument("--consistency", type=bool | None, default=None, help=described)
    parser.add_argument("--fluency", type=bool | None, default=None, help="Measure FS (default: as in the run).")
    trust_argument(parser)
    for setting in walk(EngineConfig, "engine."):
        parser.add_argument(f"--{setting.name}", type=setting.type | None, default=None, help=setting.help)


def engine_of(given: Namespace) -> EngineConfig | None:
    """The engine of the command line, or None where nothing of it is given: the run folder's own does not count."""
    settings = {setting.name.rpartition(".")[2]: setting for setting in walk(EngineConfig, "model.engine.")}
    options = {name: value for name in settings if (value := given.engine[name]) is not None}
    if options.keys() & {"command", "base_url"}:
        options.setdefault("kind", "server")
    for name, value in options.items():
        check_range(settings[name], value, f"command line, --engine.{name}")
    return EngineConfig(**options) if options else None


def evaluate(given: Namespace) -> None:
    from seewhy.report.terminal import print_results
    from seewhy.results_json import encode
    from seewhy.run import loop

    wanted = {"data": given.data, "consistency": given.consistency, "fluency": given.fluency}
    wanted |= {"trust_remote_code": given.trust_remote_code, "engine": engine_of(given)}
    print_results(encode(loop.evaluate(given.run, given.split, **wanted)), Console())


def report_arguments(parser: ArgumentParser) -> None:
    of_a_run(parser)
    looks = "Find where the last model looks when it states the reasons on the page."
    parser.add_argument("--heatmaps", action=ActionYesNo(yes_prefix="", no_prefix="no_"), default=True, help=looks)
    trust_argument(parser)


def report(given: Namespace) -> None:
    from seewhy.report.page import write_page

    page = write_page(given.run, heatmaps=given.heatmaps, trust_remote_code=given.trust_remote_code)
    Console().print(f"Wrote {page}", markup=False, soft_wrap=True, highlight=False)


def explain_arguments(parser: ArgumentParser) -> None:
    of_a_run(parser)
    parser.add_argument("photos", metavar="PHOTO", type=str, nargs="+", help="image files")
    parser.add_argument("--samples", type=int, default=8, help="Sampled answers behind confidence and support.")
    parser.add_argument("--round", type=int, default=None, help="Round of the model (default: the best on val).")
    parser.add_argument("--base", action="store_true", help="Ask the untuned model.")
    parser.add_argument("--output", type=str, default=None, help="Folder of the pictures (default: RUN/explained).")
    trust_argument(parser)
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def explain(given: Namespace) -> None:
    from seewhy import explain

    said = explain.explain(
        given.run, given.photos, round=given.round, base=given.base, samples=given.samples, output=given.output,
        trust_remote_code=given.trust_remote_code,
    )  # fmt: skip
    print(explain.as_json(said)) if given.json else explain.show(said, Console())


def audit_arguments(parser: ArgumentParser) -> None:
    of_a_run(parser)
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def audit(given: Namespace) -> None:
    from seewhy.report.terminal import print_audit
    from seewhy.results import to_json
    from seewhy.run.evaluation import write_audit

    audit = write_audit(given.run)
    print(to_json(audit), end="") if given.json else print_audit(audit, Console())


def trace_arguments(parser: ArgumentParser) -> None:
    of_a_run(parser)
    parser.add_argument("id", metavar="EXAMPLE_ID", type=str, help="id of a training example or of an answer")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def trace(given: Namespace) -> None:
    from seewhy.report.terminal import print_trace
    from seewhy.report.trace import trace as find

    found = find(given.run, given.id)
    print(json.dumps(found, indent=2, ensure_ascii=False)) if given.json else print_trace(found, Console())


VERBS = (
    Verb(
        "evaluate", "metrics on a split", EVALUATE, "seewhy evaluate RUN [--OPTION VALUE ...]",
        evaluate_arguments, evaluate,
    ),
    Verb(
        "report", "one self-contained HTML page", REPORT, "seewhy report RUN [--no_heatmaps]", report_arguments, report,
    ),
    Verb(
        "explain", "label, reasons, and where in a photo they are", EXPLAIN,
        "seewhy explain RUN PHOTO [PHOTO ...] [--OPTION VALUE ...]", explain_arguments, explain,
    ),
    Verb("audit", "what became training data", AUDIT, "seewhy audit RUN [--json]", audit_arguments, audit),
    Verb(
        "trace", "where one training example came from", TRACE, "seewhy trace RUN EXAMPLE_ID [--json]",
        trace_arguments, trace,
    ),
)  # fmt: skip
