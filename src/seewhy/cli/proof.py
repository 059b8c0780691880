"""The verbs that doubt a run: faithfulness (do the reasons hang on the image?) and general (what was forgotten?)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.console import Console
from rich.table import Table

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

TESTS = {
    "counterfactual_changes": "attribute changed: reason gone",
    "counterfactual_changes_control": "  another attribute changed: reason gone",
    "counterfactual_follows": "attribute changed: new value stated",
    "counterfactual_follows_when_stated": "  of answers that speak of the part",
    "counterfactual_label_changes": "attribute changed: another label",
    "counterfactual_label_changes_control": "  another attribute changed: another label",
    "survives_hidden": "part hidden: reason stays",
    "survives_covered_elsewhere": "  leaf elsewhere: reason stays",
    "hidden_label_changes": "part hidden: another label",
    "cover_gone": "attributed patches covered: reason gone",
    "cover_gone_random": "  as many others covered: reason gone",
    "cover_label_changes": "attributed patches covered: another label",
    "cover_label_changes_random": "  as many others covered: another label",
    "swap_reason_changes": "another class's image: reason gone",
    "swap_survives_without_evidence": "another class's image: reason stays, not seen there",
    "swap_label_changes": "another class's image: another label",
    "pointing": "greatest heat in the true box",
    "pointing_chance": "  a random patch",
    "pointing_centre": "  the middle of the image",
}
ABILITIES = {
    "attribute_accuracy": "attribute named",
    "yes_no_accuracy": "yes or no",
    "hidden_admitted": "hidden part admitted",
    "described_precision": "description: right",
    "described_recall": "description: complete",
}
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
    from seewhy.results_json import encode

    found = encode(
        measure(
            given.run, split=given.split, images=given.images, round=given.round, arms=given.arms,
            reasons=given.reasons, trust_remote_code=given.trust_remote_code,
        )
    )  # fmt: skip
    if given.json:
        print(json.dumps({**found, "models": _without(found["models"], "counts", "tests")}, indent=2))
    else:
        _print_tests(found, Console())
    renew_page(given.run)


def _print_tests(found: Mapping[str, Any], console: Console) -> None:
    title = f"{found['images']} {found['split']} images (95 % intervals)"
    console.print(figure_table(title, TESTS, {m["model"]: m["figures"] for m in found["models"].values()}))
    for model in found["models"].values():
        for note in model["notes"]:
            console.print(f"{model['model']}: no covering and no pointing. {note}", markup=False, soft_wrap=True)


def general_arguments(parser: ArgumentParser) -> None:
    _common(parser, 96)
    parser.add_argument("--tasks", type=str, default=None, help="Benchmarks of lmms-eval, with commas between them.")
    parser.add_argument("--lmms_eval", type=str, default=None, metavar="COMMAND", help="What starts lmms-eval.")
    parser.add_argument("--lmms_model", type=str, default=None, help="lmms-eval's name for what loads the models.")


def general(given: Namespace) -> None:
    from seewhy.proof import ability
    from seewhy.results_json import encode

    if given.tasks is None:
        found = encode(ability.general(given.run, split=given.split, images=given.images, arms=given.arms))
    else:
        tasks = [task for task in given.tasks.split(",") if task.strip()]
        options = {"command": given.lmms_eval, "kind": given.lmms_model, "arms": given.arms}
        found = encode(ability.benchmarks(given.run, tasks, **options))
    if given.json:
        print(json.dumps({**found, "models": _without(found.get("models", {}), "counts")}, indent=2))
    else:
        _print_abilities(found, Console())
    renew_page(given.run)


def _print_abilities(found: Mapping[str, Any], console: Console) -> None:
    if "models" in found:
        title = f"{found['images']} drawings of birds and of produce, {found['split']} split (95 % intervals)"
        rows = {f"{name}{suffix}": f"{text}, {subject}" for suffix, subject in (("", "birds"), ("_produce", "produce"))
                for name, text in ABILITIES.items()}  # fmt: skip
        console.print(figure_table(title, rows, {name: m["figures"] for name, m in found["models"].items()}))
    if "lmms_eval" in found:
        console.print(benchmark_table(found["lmms_eval"]["models"]))


def figure_table(title: str, rows: Mapping[str, str], figures: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a figure that any model has, a column a model; shares as percentages, with their intervals."""
    from seewhy.report.table import cell

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Share")
    for model in figures:
        table.add_column(model, justify="right")
    for name, text in rows.items():
        if any(name in of for of in figures.values()):
            cells = [cell(of, name) for of in figures.values()]
            beside = [" ".join(filter(None, (c.interval, *c.counted))) for c in cells]
            told = [f"{c.value} [dim]{b}[/dim]" if b else c.value for c, b in zip(cells, beside, strict=True)]
            table.add_row(text, *told)
    return table


def benchmark_table(models: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a score of lmms-eval, a column a model, with the change against the base."""
    table = Table(title="lmms-eval", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Task and score")
    for model in models:
        table.add_column(model, justify="right")
    for key in dict.fromkeys(key for of in models.values() for key in of["scores"]):
        table.add_row(key, *(_score(of, key) for of in models.values()))
    return table


def _score(of: Mapping[str, Any], key: str) -> str:
    if key not in of["scores"]:
        return ""
    change: Sequence[float] = of.get("minus_base", {}).get(key, ())
    text = f"{of['scores'][key]:.4g}"
    if change:
        text += f" [dim]{change[0]:+.3g}{f' ({change[1]:+.3g} to {change[2]:+.3g})' if change[1:] else ''}[/dim]"
    return text


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
