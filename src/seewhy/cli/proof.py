"""The verbs that doubt a run: faithfulness (do the reasons hang on the image?) and general (what was forgotten?)."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.page import renew_page
from seewhy.cli.verb import Verb, trust_argument

FAITHFULNESS = """\
Change the evidence and see whether the reasons change: the field guide's drawings with one attribute changed or hidden,
any image with the patches covered to which a reason's attribution points, another class's image; and, where true boxes
are known, whether the attribution points into them. Each test stands beside its control. Also written to
RUN/faithfulness.json, with what was answered before and after, and shown on RUN/report.html, which is written anew.

examples:
  seewhy faithfulness runs/fieldguide --split val
  seewhy faithfulness runs/fieldguide --images 48 --round 1 --json
  seewhy faithfulness runs/compare/seed-0 --arms '[rounds, lge, base]'
"""

GENERAL = """\
What the models of a run could do before tuning, and can still do: questions about attributes and free descriptions of
drawings, birds and produce, put to the base and to the model of each round. With --tasks: benchmarks, by lmms-eval,
on the base and on the last model; it is called as a program, from whatever environment it is installed in. Also written
to RUN/general.json, and shown on RUN/report.html, which is written anew.

examples:
  seewhy general runs/fieldguide --split val
  seewhy general runs/fieldguide --images 48 --json
  seewhy general runs/birds --tasks mmmu_val,mmstar,mmbench_en_dev,mme,seedbench_2_plus
  seewhy general runs/birds --tasks mmmu_val --lmms_eval 'lmms/bin/python -m lmms_eval'
"""

SPLITS = Literal["train", "val", "test"] | None


def _common(parser: ArgumentParser, images: int) -> None:
    parser.add_argument("run", metavar="RUN", type=str, help="the run folder")
    parser.add_argument("--split", type=SPLITS, default=None, help="Images to test on (default: the run's own).")
    parser.add_argument("--images", type=int, default=images, help="At most so many, spread over the classes.")
    arms = "Arms of which the last model is tested, 'base' among them (default: rounds, and lge where there is one)."
    parser.add_argument("--arms", type=list[str] | None, default=None, help=arms)
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def faithfulness_arguments(parser: ArgumentParser) -> None:
    _common(parser, 120)
    trust_argument(parser)
    parser.add_argument("--round", type=int, default=None, help="Round of the models (default: the last).")
    parser.add_argument("--reasons", type=int, default=2, help="Reasons of an image that are tested.")


def faithfulness(given: Namespace) -> None:
    from seewhy.proof.faithfulness import faithfulness as measure
    from seewhy.report.terminal import print_tests
    from seewhy.results_json import encode

    found = measure(
        given.run, split=given.split, images=given.images, round=given.round, arms=given.arms, reasons=given.reasons,
        trust_remote_code=given.trust_remote_code,
    )  # fmt: skip
    if given.json:
        values = encode(found)
        print(json.dumps({**values, "models": _without(values["models"], "counts", "tests")}, indent=2))
    else:
        print_tests(found, Console())
    renew_page(given.run)


def general_arguments(parser: ArgumentParser) -> None:
    _common(parser, 96)
    parser.add_argument("--tasks", type=str, default=None, help="Benchmarks of lmms-eval, with commas between them.")
    parser.add_argument("--lmms_eval", type=str, default=None, metavar="COMMAND", help="What starts lmms-eval.")
    parser.add_argument("--lmms_model", type=str, default=None, help="lmms-eval's name for what loads the models.")


def general(given: Namespace) -> None:
    from seewhy.proof import ability
    from seewhy.report.terminal import print_abilities
    from seewhy.results_json import encode

    if given.tasks is None:
        found = ability.general(given.run, split=given.split, images=given.images, arms=given.arms)
    else:
        tasks = [task for task in given.tasks.split(",") if task.strip()]
        options = {"command": given.lmms_eval, "kind": given.lmms_model, "arms": given.arms}
        found = ability.benchmarks(given.run, tasks, **options)
    if given.json:
        values = encode(found)
        print(json.dumps({**values, "models": _without(values.get("models", {}), "counts")}, indent=2))
    else:
        print_abilities(found, Console())
    renew_page(given.run)


def _without(models: Mapping[str, Mapping[str, Any]], *keys: str) -> dict[str, dict[str, Any]]:
    return {name: {key: value for key, value in of.items() if key not in keys} for name, of in models.items()}


VERBS = (
    Verb(
        "faithfulness", "whether the reasons hang on the image", FAITHFULNESS,
        "seewhy faithfulness RUN [--split SPLIT] [--images N] [--round N] [--arms '[rounds, lge]'] [--json]",
        faithfulness_arguments, faithfulness,
    ),
    Verb(
        "general", "what tuning has cost in general ability", GENERAL,
        "seewhy general RUN [--split SPLIT] [--images N] [--tasks TASK,TASK] [--lmms_eval COMMAND] [--json]",
        general_arguments, general,
    ),
)  # fmt: skip
