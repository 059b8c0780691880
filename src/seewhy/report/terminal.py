"""Everything that the commands print as a result: figures, comparisons, audits, traces, answers.

What comes from data or from a model is printed as it stands, never as markup. Checks and costs are in
terminal_checks.py.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from seewhy.proof.audit import Audit, Teaching, list_use
from seewhy.records import OWN
from seewhy.report.doubts import Collapse
from seewhy.report.evidence import judged_cells
from seewhy.report.figures import COLUMNS, FIGURES, NOTE, FigureInfo, arm_name, asked_about, of_group, title
from seewhy.report.table import cell, percent, points, rows, selection_cells, written
from seewhy.results import Ability, BenchmarkScores, Comparison, Explained, Faithfulness, Judgement, Metrics
from seewhy.results_json import Difference, Figure
from seewhy.run.progress import say
from seewhy.run.stages import METHOD

STAND_INS = {
    "rewritten": "the tuned model's own, with the label told",
    "listed": "name and concepts by template",
    "label sentence": "the bare label sentence",
}
"""Source of an answer -> what it is called where it stands in for one that could not be used."""


def print_results(metrics: Metrics, console: Console) -> None:
    """Print the table of results and, with ground truth, a line on the concept selection."""
    columns, body = rows(metrics)
    heading = f"Results on {metrics.base.n} {metrics.base.split} images (95 % intervals)"
    lines = [(row.model, [_stacked(c.value, c.interval, *c.notes) for c in row.cells], row.control) for row in body]
    _print_tables(heading, ["Model", *columns], lines, console)
    if any(cell.notes for row in body for cell in row.cells):
        console.print(NOTE, style="dim")
    if chosen := selection_cells(metrics):
        console.print("Concept selection: " + ", ".join(f"{name} {cell.line}" for name, cell in chosen.items()))


def print_comparison(compared: Comparison, console: Console) -> None:
    """Print one row per arm after its last round; below each figure, SeeWhy's difference to it, paired by image."""
    seeds = len(compared.seeds)
    heading = f"After round {compared.rounds} on {compared.split} images, mean of {seeds} seed{'s' * (seeds > 1)}"
    ours = compared.rounds_of[METHOD][-1]
    keys = [key for key in COLUMNS if key in ours]
    lines = [("Base, untuned", _compared_cells(keys, compared.base, {}), False)]
    for arm, rounds in compared.rounds_of.items():
        lines.append((arm_name(arm), _compared_cells(keys, rounds[-1], compared.ours_minus.get(arm, {})), False))
    _print_tables(heading, ["Arm", *map(title, keys)], lines, console)
    if any(ours[key].n is not None for key in keys):
        console.print(NOTE, style="dim")
    console.print(
        "Below an arm's figure: SeeWhy's minus the arm's (of shares in points) and its 95 % interval over seeds and"
        " images."
    )


def print_collapses(found: Sequence[Collapse], console: Console) -> None:
    """Print what forbids a use of the model."""
    for collapse in found:
        console.print(Text(collapse.head, "bold red"), Text(f"{collapse.why} {collapse.remedy}"))


def print_tests(found: Faithfulness, console: Console) -> None:
    """Print the faithfulness tests."""
    heading = f"{found.images} {found.split} images (95 % intervals)"
    models = {model.model or arm: model for arm, model in found.models.items()}
    figures = {name: model.figures for name, model in models.items()}
    console.print(figure_table(heading, of_group("faithfulness"), figures))
    for note in dict.fromkeys(note for model in models.values() for note in model.notes):
        names = ", ".join(name for name, model in models.items() if note in model.notes)
        _say(console, f"{names}: no covering and no pointing. {note}")


def print_abilities(found: Ability, console: Console) -> None:
    """Print the general abilities and the benchmarks."""
    if drawings := found.drawings:
        figures = {name: model.figures for name, model in drawings.models.items()}
        about = asked_about(drawings.images, (key for values in figures.values() for key in values))
        heading = f"{about}, {drawings.split} split (95 % intervals)"
        console.print(figure_table(heading, of_group("ability"), figures))
    if found.lmms_eval:
        console.print(benchmark_table(found.lmms_eval.models))


def figure_table(heading: str, figures: Sequence[FigureInfo], models: Mapping[str, Mapping[str, Figure]]) -> Table:
    """Return a table with a row per figure that any model has, and a column per model."""

    def shown(values: Mapping[str, Figure], key: str) -> Text:
        found = cell(values, key)
        beside = " ".join(filter(None, (found.interval, *found.counted)))
        return Text.assemble(found.value, *([" ", (beside, "dim")] if beside else []))

    body = [
        (f"{'  ' * figure.control}{figure.name}", [shown(values, figure.key) for values in models.values()])
        for figure in figures
        if any(figure.key in values for values in models.values())
    ]
    return plain_table(heading, "Share", models, body)


def benchmark_table(models: Mapping[str, BenchmarkScores]) -> Table:
    """Return a table with a row per score of lmms-eval and a column per model, with the change from the base."""

    def score(of: BenchmarkScores, key: str) -> Text:
        if key not in of.scores:
            return Text()
        ends = [f"{end:+.3g}" for end in (of.minus_base or {}).get(key, ()) if end is not None]
        bounds = f" ({' to '.join(ends[1:])})" if ends[1:] else ""
        return Text.assemble(f"{of.scores[key]:.4g}", (f" {ends[0]}{bounds}" if ends else "", "dim"))

    keys = dict.fromkeys(key for of in models.values() for key in of.scores)
    body = [(key, [score(of, key) for of in models.values()]) for key in keys]
    return plain_table("lmms-eval", "Task and score", models, body)


def print_judged(found: Judgement, console: Console) -> None:
    """Print the judge's figures, which answers have no verdict and why, and what asking took."""
    heading = f"Judged by {found.judge.model}, {found.split} split, {found.images} images"
    heading += f" drawn from {found.of}" if found.images < found.of else ""
    shown = [(place, figure) for place, figure in enumerate(of_group("judge")) if not figure.detail]
    cells = {name: judged_cells(model) for name, model in found.models.items()}
    cells["all together"] = judged_cells(None, found.agreement)
    body = [(name, [of_model[place].line for place, _ in shown]) for name, of_model in cells.items()]
    console.print(plain_table(heading, "Model", [figure.name for _, figure in shown], body))
    missing = {name: model.missing for name, model in found.models.items() if model.missing}
    for name, reasons in missing.items():
        listed = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
        say(f"{name}: {sum(reasons.values())} answers have no verdict: {listed}.")
    if missing:
        say("They are in no figure. The same command asks for these alone.")
    cost = "" if found.cost is None else f", {found.cost:.2f} at the prices given"
    tokens = found.tokens
    _say(console, f"{tokens['prompt_tokens']:,} tokens in and {tokens['completion_tokens']:,} out{cost}.")
    if tokens["unmetered"]:
        _say(console, f"{tokens['unmetered']} replies came without a count of tokens.")


AUDITED = of_group("training")
"""The columns of the audit's tables."""


def audit_cells(taught: Teaching) -> tuple[str, ...]:
    """Return the figures of one round, or of one class in it, as text; empty where there was nothing to count."""
    values = [getattr(taught, figure.key) for figure in AUDITED]
    return tuple(
        "" if v is None or (v == 0 and f.unit == "count") else written(f.key, v)
        for f, v in zip(AUDITED, values, strict=True)
    )


def print_audit(audit: Audit, console: Console) -> None:
    """Print the rounds, what was rejected and repeated, the classes taught only names, the concepts of all or none."""
    if not audit.rounds:
        console.print("No round has answers or candidates yet.")
        return _print_uses(audit, console)
    columns, last = [figure.title for figure in AUDITED], audit.rounds[-1]
    body = [(f"Round {r.round}", audit_cells(r.whole)) for r in audit.rounds]
    console.print(plain_table("What became training data", "", columns, body))
    for r in audit.rounds:
        if text := rejections(r.whole):
            _say(console, f"Round {r.round}, rejected: {text}.")
        if text := stand_ins(r.whole):
            _say(console, f"Round {r.round}, stood in: {text}.")
        if text := repeats(r.whole):
            _say(console, f"Round {r.round}, said twice in one answer: {text}.")
    classes = [(taught.label, audit_cells(taught)) for taught in last.classes]
    console.print(plain_table(f"Round {last.round}, by class", "Class", columns, classes))
    for r in audit.rounds:
        of = {taught.label: taught for taught in r.classes}
        if r.unusable and r.unusable != r.starving:
            shares = [
                f"{label} ({percent(of[label].stood_in_share or 0)}; only its name in "
                f"{percent(of[label].fallback_share or 0)})"
                for label in r.unusable
            ]
            _say(console, f"Round {r.round}, classes most of whose answers were unusable: {', '.join(shares)}.")
        if r.starving:
            shares = [f"{label} ({percent(of[label].fallback_share or 0)})" for label in r.starving]
            _say(console, f"Round {r.round}, classes that are taught little but their name: {', '.join(shares)}.")
    if audit.replay:
        _say(console, replay_use(audit))
    if audit.covered:
        _say(console, cover_use(audit))
    _print_uses(audit, console)


def _print_uses(audit: Audit, console: Console) -> None:
    if uses := list_use(audit):
        body = [(use.label, ("; ".join(use.never), "; ".join(use.always))) for use in uses]
        heading = "Concepts that were selected for no image of a class, or for all"
        console.print(plain_table(heading, "Class", ("Never", "Always"), body, "left"))


def rejections(taught: Teaching, most: int = 4) -> str:
    """Return 'names no label (643), names another label (12)', the most frequent reasons first."""
    shown = [f"{reason} ({count})" for reason, count in taught.rejections.items()]
    rest = sum(list(taught.rejections.values())[most:])
    return ", ".join(shown[:most] + ([f"other reasons ({rest})"] if rest else []))


def stand_ins(taught: Teaching) -> str:
    """Return 'for 297 of 1,440 answers: the bare label sentence (46), ...', or nothing where the model wrote all."""
    found = taught.stand_ins
    each = ", ".join(f"{what} ({found[source]:,})" for source, what in STAND_INS.items() if source in found)
    return each and f"for {sum(found.values()):,} of {taught.answers:,} answers: {each}"


def replay_use(audit: Audit) -> str:
    """Return what self-replay mixed into the rounds, in sentences; empty without it."""
    if not (use := audit.replay):
        return ""
    lost = ", ".join(f"{reason} ({count:,})" for reason, count in use.rejections.items())
    each = ", ".join(f"{count:,} in round {r.round}" for r, count in zip(audit.rounds, use.mixed_in, strict=True))
    return (
        f"Replay: answers of the untuned model to other questions about the train images were mixed in, {each}. "
        f"It gave {use.turns:,}; not used: {lost or 'none'}."
    )


def cover_use(audit: Audit) -> str:
    """Return what copies with a covered part taught, in a sentence; empty without them."""
    if not (use := audit.covered):
        return ""
    return (
        f"Covered: {use.copies:,} copies of train images with a covered part taught {use.answers:,} answers in each "
        f"round. Of {use.selected:.1f} concepts selected for an image, {use.shown:.1f} were still found in its copy."
    )


def repeats(taught: Teaching) -> str:
    """Return the phrases said twice in one answer, in a sentence; empty where there are none."""
    if not taught.longest_repeat:
        return ""
    often = f"“{taught.commonest_repeat}” most often ({taught.commonest_repeat_answers} of {taught.reasoned})"
    return f"{often}, the longest of {taught.longest_repeat_words} words: “{taught.longest_repeat}”"


def print_trace(found: Mapping[str, Any], console: Console) -> None:
    """Print where a training example came from, of the value of `trace.trace`."""
    console.print(Text(found["id"], style="bold"))
    _indented(console, f"label  {found['label']}", 2)
    _indented(console, f"image  {found['image']}", 2)
    _heading(console, "Descriptions, by the untuned base, which was not told the label", found["descriptions"])
    _print_descriptions(found["descriptions"], console)
    _heading(console, f"Concepts of {found['label']}, the best first", found["concepts"])
    if found["concepts"]:
        console.print(Padding(_concepts(found["concepts"]), (0, 0, 0, 2)))
    for round in found["rounds"]:
        taught = "taught its model" if round["tuned"] else "no model has learnt from it yet"
        console.print(Text(f"\nRound {round['round']}: {taught}", style="bold"))
        for query in round["queries"]:
            _print_query(query, console)
    for copy in found["copies"]:
        _print_copy(copy, console)
    if not (found["rounds"] or found["copies"]):
        console.print(Text("\nNo round has come to this example yet.", style="bold"))


def _print_descriptions(descriptions: Sequence[Mapping[str, Any]], console: Console) -> None:
    asked = None
    for description in descriptions:
        if description["query"] != asked:
            asked = description["query"]
            _indented(console, asked, 2, "italic")
        _indented(console, f"{description['sample']}  {description['text']}", 4)


def _print_copy(copy: Mapping[str, Any], console: Console) -> None:
    left, top, right, bottom = (copy["left"], copy["top"], copy["left"] + copy["side"], copy["top"] + copy["side"])
    place = f"{left:.0%} to {right:.0%} of its width and {top:.0%} to {bottom:.0%} of its height"
    use = "its answers are learnt from in every round" if copy["answers"] else "no answers about it"
    console.print(Text(f"\nA copy, covered from {place}: {use}", style="bold"))
    _indented(console, copy["id"], 2, "cyan")
    _print_descriptions(copy["descriptions"], console)
    if copy["concepts"]:
        console.print(Padding(_concepts(copy["concepts"], copy["shown"]), (0, 0, 0, 2)))
    for answer in copy["answers"]:
        _print_answer(answer, f"answer ({answer['source']})", console)


def _print_query(query: Mapping[str, Any], console: Console) -> None:
    answer, candidates = query["answer"], query["candidates"]
    console.print()
    _indented(console, query["id"], 2, "cyan")
    for number, candidate in enumerate(candidates):
        if not number:
            _indented(console, f"{candidate['kind']}: {candidate['query']}", 2, "italic")
        verdict, style = ("kept", "green") if candidate["kept"] else ("rejected", "")
        judged = f"score {_score(candidate['score'])}  {verdict}: {candidate['reason']}"
        _indented(console, f"candidate {candidate['sample']}  {judged}", 4, style)
        _indented(console, candidate["text"] or "(no text)", 6)
    if answer is None:
        _indented(console, "its answer is not chosen yet", 4)
        return
    why = "" if candidates and answer["source"] not in OWN else f", {answer['reason']}"
    _print_answer(answer, f"answer ({answer['source']}{why})", console)


def _print_answer(answer: Mapping[str, Any], heading: str, console: Console) -> None:
    _indented(console, heading, 4, "bold")
    _indented(console, f"{answer['kind']}: {answer['query']}", 6, "italic")
    _indented(console, answer["text"], 6)


def _concepts(concepts: Sequence[Mapping[str, Any]], stated: Collection[str] | None = None) -> Table:
    """Return a table of concepts, the best first; `stated` are those that may be stated: by default the selected."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    ranked = sorted(concepts, key=lambda c: -math.inf if c["score"] is None else c["score"], reverse=True)
    for concept in ranked:
        verdict, style = ("selected", "green") if concept["selected"] else ("", "")
        if verdict and stated is not None and concept["concept"] not in stated:
            verdict, style = "not for the image", ""
        table.add_row(_score(concept["score"]), Text(verdict, style=style), Text(concept["concept"]))
    return table


def _score(score: float | None) -> str:
    return "none" if score is None else f"{score:.2f}"


def _heading(console: Console, text: str, records: Sequence[Any]) -> None:
    console.print(Text(f"\n{text}" if records else f"\n{text}: none yet", style="bold"))


def _indented(console: Console, text: str, indent: int, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))


def plain_table(
    heading: str, first: str, columns: Iterable[str], body: Iterable[tuple[str, Sequence[str | Text]]],
    justify: Literal["left", "right"] = "right",
) -> Table:  # fmt: skip
    """Return a table with a named row per entry of `body`."""
    table = Table(title=Text(heading), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, min_width=7)
    for column in columns:
        table.add_column(Text(column), justify=justify, min_width=max(map(len, column.split()), default=0))
    for name, values in body:
        table.add_row(Text(name), *(Text(value) if isinstance(value, str) else value for value in values))
    return table


def _compared_cells(keys: Sequence[str], figures: Mapping[str, Figure], minus: Mapping[str, Difference]) -> list[Text]:
    """Return one arm's figures, each with the method's difference to it and its interval below."""
    cells = []
    for key in keys:
        below = [
            points(v) if FIGURES[key].unit == "share" else f"{v:+.2f}" for v in minus.get(key, ()) if v is not None
        ]
        if below:
            below = [below[0], f"{below[1]} to {below[2]}"]
        found = cell(figures, key)
        cells.append(_stacked(found.value, *below, *found.notes))
    return cells


def _stacked(figure: str, *below: str) -> Text:
    """Return a figure with dim lines below it."""
    return Text("\n").join([Text(figure), *(Text(line, "dim") for line in below if line)])


Shown = tuple[str, Sequence[Text], bool]
"""A row's name, its cells, and whether it is dim."""


def _print_tables(heading: str, columns: Sequence[str], lines: Sequence[Shown], console: Console) -> None:
    """Print one table, or as few as the width of the console allows, with about equally many columns."""
    count, unbounded = len(columns) - 1, console.options.update(width=10_000)
    for tables in range(1, count + 1):
        edges = [number * count // tables for number in range(tables + 1)]
        made = [_table(columns, lines, slice(*part)) for part in pairwise(edges)]
        if all(Measurement.get(console, unbounded, table).minimum <= console.width for table in made):
            break
    made[0].title = heading
    for table in made:
        console.print(table)


def _table(columns: Sequence[str], lines: Sequence[Shown], part: slice) -> Table:
    table = Table(title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(columns[0], no_wrap=True, min_width=max(len(name) for name, _, _ in lines))
    for number, column in enumerate(columns[1:][part], start=part.start):
        width = max(len(line) for _, cells, _ in lines for line in cells[number].plain.split("\n"))
        table.add_column(column, justify="right", min_width=width)
    for name, cells, dim in lines:
        table.add_row(name, *cells[part], style="dim" if dim else "")
    return table


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)


def print_explained(explained: Sequence[Explained], console: Console) -> None:
    """Print the label, the answer, and each reason with its support and its overlay, photo by photo."""
    for one in explained:
        label = Text(one.label, "bold") if one.label else Text("no single class of this run", "bold yellow")
        drawn = sum(one.sampled.values())
        agreed = Text(f"  {round(one.confidence * drawn)} of {drawn} sampled answers agree" if one.label else "")
        console.print(Text(f"{one.image}: "), label, agreed, sep="", soft_wrap=True)
        console.print(Text(f"  {one.answer}"), soft_wrap=True)
        widest = max((len(reason.concept) for reason in one.reasons), default=0)
        for reason in one.reasons:
            support = f"in {round(reason.support * drawn)} of {drawn}"
            console.print(Text(f"  {reason.concept:{widest}}  {support}  {reason.overlay or ''}"), soft_wrap=True)
        if not one.reasons:
            console.print("  It states no concept of the run's list as a reason.")
        if one.no_overlay:
            console.print(Text(f"  No pictures. {one.no_overlay}", "yellow"), soft_wrap=True)
    console.print("Agreement says how steady the model is, not how often it is right.", style="dim")
