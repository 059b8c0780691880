"""docs/results.md, from figures, differences and verdicts."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.claims import OURS, PAPER, Claim, Difference, Judged, Part, part_verdict
from seewhy.report.figures import ARM_NAMES, COLUMNS, of_group
from seewhy.report.figures import FIGURES as REGISTRY

Key = tuple[str, str, str]
BY_ENCODER = re.compile(r"selection_(?:precision|recall)_(?P<rule>[a-z]+)_(?P<encoder>.+)_(?P<number>\d+)")

NAMES = {
    "base": "Base, untuned", "ours": ARM_NAMES["rounds"].name, "nl": ARM_NAMES["nl"].name, "lge": ARM_NAMES["lge"].name,
    "nofilter": ARM_NAMES["unfiltered"].name, "class_level": ARM_NAMES["class_level"].name,
}  # fmt: skip
FIGURES = {key: REGISTRY[key].title for key in COLUMNS if key != "accuracy_lenient"}
TESTS = {f.key: f"{'- ' * f.control}{f.title}" for f in of_group("faithfulness")}
ROUND = "ours_round_"
TEST_USE = "test_use"
"""The note on what was seen of the test split before."""
_TEST_USE_TITLE = "Where the test split was used before"
GOALS: Mapping[str, Sequence[tuple[str, str, str, float]]] = {"": (
    ("SeeWhy against L+GE, share of true reasons, difference", "stated_true_ours_minus_lge", ">=", 0.2),
    ("Stated concepts that are false or hidden", "stated_false_ours", "<=", 0.03),
    ("A reason goes when its evidence is changed", "counterfactual_changes", ">=", 0.9),
    ("A reason stays when its evidence is hidden", "survives_hidden", "<=", 0.1),
    ("A reason's greatest heat is in the true box", "pointing", ">=", 0.8),
    ("Selection precision", "selection_precision", ">=", 0.95),
    ("Selection recall", "selection_recall", ">=", 0.75),
), "_cells": (
    ("Accuracy", "accuracy_ours", ">=", 0.95),
    ("Accuracy, SeeWhy less NL", "accuracy_ours_minus_nl", ">=", -0.01),
    ("Stated concepts that are true", "stated_true_ours", ">=", 0.9),
    ("SeeWhy against L+GE, share of true reasons, difference", "stated_true_ours_minus_lge", ">=", 0.15),
    ("Stated concepts that are false", "stated_false_ours", "<=", 0.1),
    ("The same, less those of the supervised heads", "stated_false_above_ceiling", "<=", 0.03),
    ("Selection precision", "selection_precision", ">=", 0.92),
    ("Selection recall", "selection_recall", ">=", 0.7),
    ("Another cell of the same class without the mark: the reason goes", "same_class_follows", ">=", 0.7),
    ("Points of ability lost, the worst ability", "ability_lost", "<=", 0.05),
)}  # fmt: skip
"""Ending of a data set's figures -> its goals."""
_NOTE = """\
Where nothing else is said, a figure is the mean over seeds, n counts what it rests on in all seeds together, and its
bounds are 95 % intervals over seeds and images: Student's t over the seeds' figures, and for the images, which the
seeds share, the bootstrap, or exact intervals where few count (proof/comparison.py). Of one seed they hold images
alone: what another seed would give is not known.

The nine claims of a data set are judged together, by p-values that agree with these intervals, corrected by Holm's
method. A claim holds where each of its differences is above 0 (where something is kept: above minus two points, the
lower one of two one-sided tests of equivalence) at 5 % after the correction, does not hold where one is below, and else
is not decided by these data. What stands behind a single difference is said of its interval alone, before the
correction."""


def page(
    titles: Mapping[str, str], sections: Mapping[str, str], figures: Mapping[str, Any], notes: Mapping[str, str]
) -> str:
    """Return the whole page. `titles` is ending -> data set, in the summary's order; `sections` ending -> its text.

    The micrographs' section stands before the drawings' details.
    """
    lines = ["# Results", "", "Made by `make results` (`python -m bench.results`); not edited by hand.", "", _NOTE, ""]
    lines += [*summary(titles, figures), ""]
    if test_use := notes.get(TEST_USE):
        lines += [f"## {_TEST_USE_TITLE}", "", test_use, ""]
    for ending in sorted(titles, key=lambda ending: ending != "_cells"):
        lines += [f"## {titles[ending]}", "", sections[ending].strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


def sections_of(text: str) -> dict[str, str]:
    """Return title -> text of the sections of an earlier page."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))


def section(
    ending: str, measured: Any, figures: Mapping[str, float], known: Mapping[Key, Difference],
    verdicts: Mapping[str, Judged], notes: Mapping[str, str], images: int, where: str,
) -> str:  # fmt: skip
    """Return one data set's section. `figures` are without the data set's ending, `where` is the machine."""
    own = {key.removesuffix(ending): text for key, text in notes.items() if not ending or key.endswith(ending)}
    config, seeds = measured.config, ", ".join(map(str, measured.seeds))
    one = " One seed: its intervals and verdicts are over images alone." if len(measured.seeds) == 1 else ""
    lines = [f"{config.evaluate.split} split, {config.rounds} rounds, seeds {seeds}; changed evidence on up to"
             f" {images} images a seed.{one} Measured on {where}.", ""]  # fmt: skip
    details = ["### The paper's claims", "", *claims(PAPER, known, verdicts, own)]
    details += ["### SeeWhy's own claims", "", *claims(OURS, known, verdicts, own)]
    if goals := goal_rows(figures, GOALS.get(ending, ())):
        details += ["### Goals", "", *table(("Goal", "To reach", "Measured", ""), goals), ""]
    tables = ["### Arms", "", *arms(figures), ""]
    if heads := ceiling(figures):
        tables += ["### What supervised heads reach on the same eyes, with the marks", "", *heads, ""]
    if described := by_number(figures):
        tables += ["### Concept selection against the number of descriptions", "", *described, ""]
    if encoders := by_encoder(figures):
        tables += ["### Concept selection by text encoder and number of descriptions", "", *encoders, ""]
    tables += ["### Do the reasons hang on the image?", "", *by_model(TESTS, figures, tested=True), ""]
    tables += ["### General ability", "", *abilities(figures, config.rounds), ""]
    return "\n".join([*lines, *tables, *details] if ending == "_cells" else [*lines, *details, *tables])


def summary(titles: Mapping[str, str], figures: Mapping[str, Any]) -> list[str]:
    """Return a row for each claim with a column for each data set."""
    rows = [[c.text, *(figures.get(f"verdict_{c.key}{end}", "") for end in titles)] for c in (*PAPER, *OURS)]
    return table(("Claim", *titles.values()), rows)


def claims(
    of: Sequence[Claim], known: Mapping[Key, Difference], verdicts: Mapping[str, Judged], notes: Mapping[str, str]
) -> list[str]:
    lines = []
    for claim in of:
        found = verdicts[claim.key]
        measured = f" p {written(found.p)}, corrected {written(found.corrected)}" if found.p < 1 else ""
        lines += [f"**{claim.text}: {found.verdict}.**{measured}", ""]
        lines += [f"- {part_text(part, known.get(part.key))}" for part in claim.parts]
        if claim.key in notes and found.verdict != "holds":
            lines += [f"- {notes[claim.key]}"]
        lines += [""]
    return lines


def part_text(part: Part, found: Difference | None) -> str:
    figure, better, worse = part.key
    said = f"{figure}, {named(better)} less {named(worse)}"
    if found is None:
        return f"{said}: not measured"
    unit = 1 if figure == "fs" else 100
    value, low, high = (f"{unit * v:+.1f}" for v in (found.value, found.low, found.high))
    seeds = f"; single seeds {', '.join(f'{unit * v:+.1f}' for v in found.seeds)}" if len(found.seeds) > 1 else ""
    points = "" if figure == "fs" else " points"
    return f"{said}: {value}{points} ({low} to {high}{seeds}): by itself {part_verdict(part, found)}"


def written(p: float) -> str:
    """A p-value to two figures."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def named(model: str) -> str:
    """'SeeWhy, round 1'."""
    if model.startswith(ROUND):
        return f"SeeWhy, round {model.removeprefix(ROUND)}"
    return NAMES.get(model, f"{model} descriptions")


def goal_rows(figures: Mapping[str, float], goals: Sequence[tuple[str, str, str, float]]) -> list[list[str]]:
    rows = []
    for text, key, sign, goal in goals:
        if key in figures:
            value = figures[key] / 100 if key == "ability_lost" else figures[key]
            reached = value >= goal if sign == ">=" else value <= goal
            unit = " points" if key == "ability_lost" else " %"
            rows.append(
                [text, f"{sign} {100 * goal:.0f}{unit}", share(figures, key), "reached" if reached else "not reached"]
            )
    return rows


def arms(figures: Mapping[str, float]) -> list[str]:
    rounds = sorted(
        k.removeprefix("accuracy_") for k in figures if k.startswith("accuracy_ours_round_") and k[-1].isdigit()
    )
    models = {"base": NAMES["base"], **{r: named(r) for r in rounds}, **NAMES}
    del models["ours"]  # the last round
    return by_model(FIGURES, figures, models=models)


def by_model(
    names: Mapping[str, str], figures: Mapping[str, float], models: Mapping[str, str] = NAMES, *, tested: bool = False
) -> list[str]:
    """Rows are models for arms, figures for tests: whichever are fewer stand as columns."""

    def key(figure: str, model: str) -> str:
        return figure if tested and model == "ours" else f"{figure}_{model}"

    there = {f: text for f, text in names.items() if any(key(f, m) in figures for m in models)}
    shown = {m: text for m, text in models.items() if any(key(f, m) in figures for f in there)}
    if not there:
        return ["Not measured."]
    if tested:
        rows = [[text, *(share(figures, key(f, m)) for m in shown)] for f, text in there.items()]
        return table(("", *shown.values()), rows)
    rows = [[text, *(share(figures, key(f, m)) for f in there)] for m, text in shown.items()]
    return table(("", *there.values()), rows)


def abilities(figures: Mapping[str, float], rounds: int) -> list[str]:
    models = {"base": "Base", **{f"ours_round_{r}": f"Round {r}" for r in range(1, rounds + 1)}, "lge": "L+GE"}
    rows = []
    for figure in of_group("ability"):
        cells = [share(figures, f"{figure.key}_{model}") for model in models]
        if any(cells):
            rows.append([figure.title, *cells])
    if not any("produce" in title for title, *_ in rows):
        rows = [[title.removesuffix(", birds"), *cells] for title, *cells in rows]
    return table(("", *models.values()), rows) if rows else ["Not measured: the base is not the one that is shipped."]


def ceiling(figures: Mapping[str, float]) -> list[str]:
    """Return what the supervised heads state beside what the model does; empty where that was not measured."""
    if "stated_true_ceiling_all" not in figures:
        return []
    kinds = {"ours": "SeeWhy", "ceiling": "Heads, as many phrases as SeeWhy", "ceiling_all": "Heads, all phrases"}
    shown = ("stated_true", "stated_false", "same_class_follows")
    rows = [[text, *(share(figures, f"{name}_{kind}") for name in shown)] for kind, text in kinds.items()]
    lines = table(("", *(REGISTRY[name].title for name in shown)), rows)
    name = "attribute_ceiling_"
    attributes = [key for key in figures if key.startswith(name) and not key.endswith(("_low", "_high", "_n"))]
    heads = {"accuracy_ceiling": "class", **{key: key.removeprefix(name).replace("_", " ") for key in attributes}}
    return [*lines, "", *table(("Head", "Right"), [[text, share(figures, key)] for key, text in heads.items()])]


def by_encoder(figures: Mapping[str, float]) -> list[str]:
    """Return precision and recall by encoder and number of descriptions; empty where that was not measured."""
    found = [m for key in figures if (m := BY_ENCODER.fullmatch(key))]
    numbers = sorted({int(m["number"]) for m in found})
    encoders = dict.fromkeys((m["rule"], m["encoder"]) for m in found)
    rows = [
        [encoder, rule, kind, *(share(figures, f"selection_{kind}_{rule}_{encoder}_{n}") for n in numbers)]
        for rule, encoder in encoders
        for kind in ("precision", "recall")
    ]
    return table(("Encoder", "Rule", "Figure", *(f"{n} descriptions" for n in numbers)), rows) if rows else []


def by_number(figures: Mapping[str, float]) -> list[str]:
    """Precision and recall by the number of descriptions of an image; empty where that was not measured."""
    name = "selection_precision_"
    numbers = sorted(int(end) for key in figures if (end := key.removeprefix(name)).isdecimal())
    kinds = ("precision", "recall")
    rows = [[str(n), *(share(figures, f"selection_{kind}_{n}") for kind in kinds)] for n in numbers]
    return table(("Descriptions an image", "Precision", "Recall"), rows) if rows else []


def share(figures: Mapping[str, float], key: str) -> str:
    """'93.1 % (90.8 to 95.0; n 480)', or empty; FS is no share."""
    if key not in figures:
        return ""
    values = [figures[name] for name in (key, f"{key}_low", f"{key}_high") if name in figures]
    factor, places, unit = (1, 2, "") if key.startswith("fs_") else (100, 1, " %")
    if key == "ability_lost":
        factor, unit = 1, " points"
    value, *bounds = (f"{factor * v:.{places}f}" for v in values)
    counted = f"n {figures[f'{key}_n']:,}" if f"{key}_n" in figures else ""
    beside = "; ".join(part for part in (" to ".join(bounds), counted) if part)
    return f"{value}{unit} ({beside})" if beside else f"{value}{unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return [*lines, *(f"| {' | '.join(cell or '-' for cell in row)} |" for row in rows)]
