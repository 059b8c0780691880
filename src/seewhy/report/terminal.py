"""The audit of the training data as rows of text. `audit_rows` is shared by the terminal and the page.

`seewhy concepts`: reads the bank and what a run made of it, and shows what was found or drafted.

What `seewhy doctor` prints.

What `seewhy plan` prints.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.config import DataConfig, RunConfig
from seewhy.cost.estimate import RunCost, StageCost, smallest_gpu
from seewhy.cost.hardware import USABLE, UTILISATION
from seewhy.doctor import Check, broken
from seewhy.domain.bank_check import Finding, check_bank, ordered, unused
from seewhy.domain.concepts import ConceptBank, fit_concepts, unused_classes
from seewhy.domain.domain import read_bank, with_aliases
from seewhy.domain.drafting import Draft, sources_path
from seewhy.domain.loaders import Dataset
from seewhy.domain.loaders.layouts import read_data
from seewhy.domain.text import canonical_words
from seewhy.endpoint import Endpoint, Prices, Usage
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import with_guide
from seewhy.proof.audit import FEWEST_IMAGES, Audit, ConceptUse, RoundAudit, Teaching, concept_use
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Description, Selection
from seewhy.report.table import percent
from seewhy.run.finished import RunRecords
from seewhy.run.progress import progress, say
from seewhy.run.stages import StageKey
from seewhy.run.storage import write_atomically

COLUMNS = ("Answers", "Label only", "Queries won", "Candidates kept", "Margin", "Near copies", "Repeat")
SHOWN = 12
"""Rows of a table on the page; the rest are counted."""


@dataclass(frozen=True)
class ListUse:
    """The concepts of one class that none, and that all, of its images were given."""

    label: str
    never: tuple[str, ...]
    always: tuple[str, ...]


def cells(taught: Teaching) -> tuple[str, ...]:
    """The figures of one round, or of one class in it, under `COLUMNS`; empty where there was nothing to count."""
    margin = "" if taught.margin is None else f"{taught.margin:.2f}"
    shares = (taught.fallback_share, taught.accepted_share, taught.kept_share)
    alike = (taught.near_duplicate_share, taught.repeating_share)
    return (str(taught.answers or ""), *map(_share, shares), margin, *map(_share, alike))


def rejections(taught: Teaching, most: int = 4) -> str:
    """'names no label (643), names another label (12)', the most frequent first."""
    told = [f"{reason} ({count})" for reason, count in taught.rejections.items()]
    rest = sum(list(taught.rejections.values())[most:])
    return ", ".join(told[:most] + ([f"other reasons ({rest})"] if rest else []))


def repeats(taught: Teaching) -> str:
    """The phrases said twice in one answer, in a sentence; empty where there are none."""
    if not taught.longest_repeat:
        return ""
    often = f"“{taught.commonest_repeat}” most often ({taught.commonest_repeat_answers} of {taught.reasoned})"
    return f"{often}, the longest of {taught.longest_repeat_words} words: “{taught.longest_repeat}”"


def list_use(audit: Audit) -> list[ListUse]:
    """By class, the one with most such concepts first."""
    never, always = _by_label(audit.never), _by_label(audit.always)
    found = [ListUse(label, never.get(label, ()), always.get(label, ())) for label in sorted({*never, *always})]
    return sorted(found, key=lambda use: -len(use.never) - len(use.always))


def starving(audit: Audit) -> list[tuple[int, Teaching]]:
    """(round, class) for each class that starves, the worst of the last round first."""
    return [(r.round, taught) for r in reversed(audit.rounds) for taught in _starving(r)]


def print_audit(audit: Audit, console: Console) -> None:
    """The rounds, then what was rejected and repeated, the classes that starve, the concepts taken never or always."""
    if not audit.rounds:
        console.print("No round has answers or candidates yet.")
    else:
        rounds = [(f"Round {r.round}", cells(r.whole)) for r in audit.rounds]
        console.print(_table("What became training data", "", COLUMNS, rounds))
    for r in audit.rounds:
        if told := rejections(r.whole):
            _say(console, f"Round {r.round}, rejected: {told}.")
        if told := repeats(r.whole):
            _say(console, f"Round {r.round}, said twice in one answer: {told}.")
    if audit.rounds:
        last = audit.rounds[-1]
        body = [(taught.label, cells(taught)) for taught in last.classes]
        console.print(_table(f"Round {last.round}, by class", "Class", COLUMNS, body))
    for r in audit.rounds:
        if hungry := _starving(r):
            shares = ", ".join(f"{taught.label} ({_share(taught.fallback_share)})" for taught in hungry)
            _say(console, f"Round {r.round}, classes that are taught little but their name: {shares}.")
    if uses := list_use(audit):
        body = [(use.label, ("; ".join(use.never), "; ".join(use.always))) for use in uses]
        console.print(
            _table("Concepts that none or all of a class's images got", "Class", ("Never", "Always"), body, "left")
        )


def write_audit(run: str) -> Audit:
    """The audit of a run, which is also written to RUN/audit.json, atomically."""
    audit = RunRecords(run).audit()
    write_atomically(Path(run) / "audit.json", (audit_json(audit) + "\n").encode())
    return audit


def audit_json(audit: Audit) -> str:
    """The audit as JSON text, every field under its own name."""
    return json.dumps(asdict(audit), indent=2, ensure_ascii=False, allow_nan=False)


def _table(
    title: str, first: str, columns: Sequence[str], body: Iterable[tuple[str, Sequence[str]]], justify: str = "right"
) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, min_width=7)
    for column in columns:
        whole = max(map(len, column.split()))
        table.add_column(column, justify="right" if justify == "right" else "left", min_width=whole)
    for name, values in body:
        table.add_row(Text(name), *map(Text, values))
    return table


def _starving(r: RoundAudit) -> list[Teaching]:
    by_label = {taught.label: taught for taught in r.classes}
    return [by_label[label] for label in r.starving]


def _by_label(uses: Iterable[ConceptUse]) -> dict[str, tuple[str, ...]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for use in uses:
        groups[use.label].append(use.concept)
    return {label: tuple(concepts) for label, concepts in groups.items()}


def _share(share: float | None) -> str:
    return "" if share is None else percent(share)


def _say(console: Console, text: str) -> None:
    console.print(Text(text), highlight=False)


SHOWN_PHRASES = 40
"""Findings of one level that are shown; the rest are counted, and stand in --json."""


@dataclass(frozen=True)
class Checked:
    classes: int
    concepts: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    """Findings of each level."""


def labels_of(config: RunConfig) -> list[str]:
    """The classes of a data set, sorted; no image is opened and no bank needed."""
    _, reading = _reading(replace(config.data, concepts=None), config.output)
    return sorted({row.label for row in reading.rows})


def checked(config: RunConfig, run: str | None) -> Checked:
    """All findings of the config's bank, and with `run` of what that run made of it."""
    data, reading = _reading(config.data, config.output)
    if data.concepts is None and reading.bank is None:
        raise SeeWhyError(
            "There is no bank to check: set data.concepts to one, or have one written by `seewhy concepts draft`."
        )
    written, problems = read_bank(data, reading)
    labels = sorted({row.label for row in reading.rows})
    bank, fit_problems = fit_concepts(written, labels)
    strange = {label: written[label] for label in unused_classes(written, labels)}
    bank = with_aliases(bank, reading.aliases)
    found = check_bank({**bank, **strange}, data.noun, [*problems, *fit_problems], bank.aliases)
    what = "no image of that class: a run passes its concepts over"
    found = ordered([*found, *(Finding("note", "no image", label, tuple(strange[label]), what) for label in strange)])
    if run is not None:
        found = ordered([*found, *_unused(run, bank)])
    levels = Counter(finding.level for finding in found)
    counts = {level: levels[level] for level in ("problem", "warning", "note")}
    return Checked(len(written), sum(map(len, written.values())), tuple(found), counts)


def _reading(data: DataConfig, output: str) -> tuple[DataConfig, Dataset]:
    """The data's settings and rows. Raises SeeWhyError where there is no image."""
    data = with_guide(data, Path(output) / "fieldguide")
    reading = read_data(data)
    if not reading.rows:
        raise SeeWhyError(f"{data.source}: there is no image that can be used, so there are no classes; add some.")
    return data, reading


def _unused(run: str, bank: ConceptBank) -> list[Finding]:
    """Concepts of the bank that a run's descriptions never state, or that it never selected."""
    records = RunRecords(run)
    selections, labels = records.read(StageKey("select"), Selection), records.labels
    if not selections:
        raise SeeWhyError(f"{run} has not selected any concept yet; start its run again, or leave --run out.")
    use = {
        (u.label, u.concept): (u.images, u.selected)
        for u in concept_use(selections, labels)
        if u.concept in bank.get(u.label, ())
    }
    by_label: dict[str, list[str]] = defaultdict(list)
    for description in records.read(StageKey("describe"), Description):
        by_label[labels[description.example_id]].append(description.text)
    said: Counter[tuple[str, str]] = Counter()
    names = (*bank, *(name for names in bank.aliases.values() for name in names))
    with progress("reading the descriptions", total=sum(map(len, by_label.values())), done=0) as advance:
        for label, texts in by_label.items():
            stated = StatedConcepts((concept for concept in bank.get(label, ()) if canonical_words(concept)), names)
            for text in texts:
                said.update((label, concept) for concept in stated(text))
                advance(1)
    return unused(use, said, FEWEST_IMAGES)


def print_checked(found: Checked, console: Console) -> None:
    """The findings, the worst first, and how many there are."""
    for level in ("problem", "warning", "note"):
        of_level = [finding for finding in found.findings if finding.level == level]
        if not of_level:
            continue
        table = Table(title=f"{level.capitalize()}s", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("What", "Class", "Concepts", ""):
            table.add_column(column)
        for finding in of_level[:SHOWN_PHRASES]:
            told = (finding.kind, finding.label, "; ".join(finding.concepts), finding.text)
            table.add_row(*map(Text, told))
        console.print(table)
        if len(of_level) > SHOWN_PHRASES:
            console.print(f"and {len(of_level) - SHOWN_PHRASES} more {level}s; --json has them all.", highlight=False)
    told = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in found.counts.items())
    console.print(f"{found.concepts} concepts of {found.classes} classes: {told}.", highlight=False)


def print_draft(
    found: Draft, bank: Path, classes: int, endpoint: Endpoint, prices: Prices | None, console: Console
) -> None:
    """How many concepts were kept, why the rest were dropped, what is missing, and what it took."""

    def tell(line: str) -> None:
        console.print(Text(line), soft_wrap=True)

    concepts = sum(map(len, found.bank.values()))
    tell(
        f"Wrote {bank}: {concepts} concepts of {len(found.bank)} of {classes} classes "
        f"({sources_path(bank)} has sources)."
    )
    if found.dropped:
        tell("Dropped: " + ", ".join(f"{reason} ({count})" for reason, count in found.dropped.most_common()) + ".")
    usage = found.usage + endpoint.wasted
    cost = "" if prices is None else f", {prices.cost(usage):.2f} at the prices given"
    tell(f"Took {usage.prompt_tokens:,} tokens in and {usage.completion_tokens:,} out{cost}.")
    for label, reason in found.missing.items():
        tell(f"No concept of {label}: {reason}.")
    if found.missing:
        tell("The same command asks for these alone.")


def print_checks(checks: Sequence[Check], console: Console) -> None:
    """A line a check, with what to do below it."""
    marks = {"ok": "[green]ok[/]   ", "note": "[yellow]note[/] ", "error": "[red]error[/]"}
    for check in checks:
        console.print(marks[check.state], end=" ")
        console.print(f"{check.name}: {check.found}", markup=False, highlight=False, soft_wrap=True)
        if check.remedy:
            console.print(f"      {check.remedy}", markup=False, highlight=False, soft_wrap=True)
    said = "Something that every run needs is broken; see above." if broken(list(checks)) else "Runs work here."
    console.print(said, highlight=False)


CAPTION = "read, written: tokens that are computed; unshared: had every text its image computed for itself"


def print_cost(cost: RunCost, console: Console, prices: Prices | None = None) -> None:
    """Stages, memory, disk, calls, what to change; what was assumed comes last."""
    say = _sayer(console)
    shape, splits = cost.shape, ", ".join(f"{count:,} {split}" for split, count in cost.images.items())
    say(
        f"{cost.model}: {shape.total / 1e9:.3g} billion parameters in {cost.dtype}, of which tuning trains "
        f"{cost.trained.parameters / 1e6:,.3g} million. Images: {splits}."
    )
    console.print(_stages(cost))
    if cost.seconds is not None and cost.gpu is not None:
        say(f"About {_hours(cost.seconds)} on one {cost.gpu.name}.")
    say(f"Tuning holds {_memory(cost)}.")
    disk = cost.disk
    say(
        f"Disk: {_size(sum(disk.values()))} ({_size(disk['models'])} of models, {_size(disk['adapters'])} of adapters, "
        f"{_size(disk['texts'])} of texts, {_size(disk['checkpoints'])} of checkpoints for a while)."
    )
    for verb, calls in cost.calls.items():
        usage = Usage(calls["requests"], calls["tokens_in"], calls["tokens_out"])
        paid = None if prices is None else prices.cost(usage)
        say(
            f"`seewhy {verb}`, where used: {calls['requests']:,.0f} requests, {calls['tokens_in']:,.0f} tokens in, "
            f"{calls['tokens_out']:,.0f} out{'' if paid is None else f', about {paid:,.2f} at the prices given'}."
        )
    _print_fit(cost, console)
    if cost.faster is not None:
        say(f"With model.batch_size {cost.faster[0]} it would take about {_hours(cost.faster[1])}, and still fit.")
    use, assumed = UTILISATION, cost.assumed
    say(
        f"Assumed, not measured: texts {assumed.length:.0%} of their longest, {assumed.fallback:.0%} plain label "
        f"sentences, {assumed.again:.0%} of synthesis asked again; tuning reaches {use.tuning:.0%} and reading "
        f"{use.prefill:.0%} of the card's 16-bit peak, writing {use.bandwidth:.0%} of its bandwidth and no token "
        f"faster than {use.layer_seconds * 1e3:.1f} ms a layer; tensors fill {USABLE:.0%} of its memory. Selection "
        "and reports are left out."
    )


def _print_fit(cost: RunCost, console: Console) -> None:
    say = _sayer(console)
    if cost.gpu is None:
        larger = smallest_gpu(cost.peak)
        say(f"The smallest card that holds this is {larger}." if larger else "No card of the table holds this.")
    elif cost.fits:
        say(f"It fits: at most {_size(cost.peak)} of the {_size(cost.gpu.memory)} of one {cost.gpu.name}.")
    elif cost.fits_changed:
        say(
            f"It does not fit: {_size(cost.peak)} are needed, and {cost.gpu.name} has {_size(cost.gpu.memory)}. "
            "With these settings it does:"
        )
        say(yaml.safe_dump(nested(cost.overrides), sort_keys=False, default_flow_style=False).rstrip())
    else:
        larger = smallest_gpu(cost.peak)
        there = f"one {larger} holds it as it is" if larger else "no card of the table holds it as it is"
        say(
            f"It does not fit on one {cost.gpu.name} with any batch size, checkpointing and 4-bit weights: {there}. "
            "Take a smaller model, or shorter texts."
        )


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as YAML has them."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        group, _, own = name.partition(".")
        found.setdefault(group, {})[own] = value
    return found


def _stages(cost: RunCost) -> Table:
    """A row a kind of stage: its rounds and arms together."""
    names = ("stages", "texts", "read", "unshared", "written", "PFLOP")
    table = Table(*names, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=CAPTION, caption_justify="left")
    if cost.gpu is not None:
        table.add_column("hours")
    table.add_column("peak")
    for column in table.columns:
        column.no_wrap = True
        column.justify = "left" if column is table.columns[0] else "right"
    kinds: dict[str, list[StageCost]] = {}
    for stage in cost.stages:
        kinds.setdefault(str(replace(stage.tokens.key, model=None)), []).append(stage)
    for kind, alike in kinds.items():
        table.add_row(*_row(kind, alike, timed=cost.gpu is not None))
    return table


def _row(kind: str, alike: Sequence[StageCost], *, timed: bool) -> list[str]:
    tokens = [stage.tokens for stage in alike]
    written, pflop = sum(row.written for row in tokens), sum(stage.flops for stage in alike) / 1e15
    cells = [
        f"{kind} x{len(alike)}" if len(alike) > 1 else kind,
        f"{sum(row.answers for row in tokens):,}",
        _millions(sum(row.read for row in tokens)),
        _millions(sum(row.read_separately for row in tokens)),
        _millions(written) if written else "",
        f"{pflop:,.0f}" if pflop >= 10 else f"{pflop:.2g}",
    ]
    hours = [f"{sum(stage.seconds or 0 for stage in alike) / 3600:,.1f}"] if timed else []
    return [*cells, *hours, _size(max(stage.peak for stage in alike))]


def _memory(cost: RunCost) -> str:
    held = cost.tuning
    parts = {"weights": held.weights, "gradients": held.gradients, "optimizer": held.optimizer, "a step": held.step}
    listed = ", ".join(f"{_size(size)} {name}" for name, size in parts.items())
    where = "of the machine's memory, not the card's" if held.merges_on_host else "there"
    return f"{listed}; merging takes {_size(held.merge)} {where}"


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def _size(count: float) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.0f} {unit}" if count >= 10 * size else f"{count / size:.1f} {unit}"
    return f"{count / 1024:,.0f} KiB"


def _millions(tokens: float) -> str:
    if tokens >= 1e9:
        return f"{tokens / 1e9:,.3g}G"
    return f"{tokens / 1e6:,.3g}M" if tokens >= 1e5 else f"{tokens:,.0f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:,.1f} minutes"


JUDGED = ("Judged", "Missing", "Explains (EE)", "Consistent (CS)", "EE agrees", "kappa", "CS rank corr.")


def print_judged(found: Mapping[str, Any], console: Console) -> None:
    """The figures, what is missing and why, what it took."""
    title = f"Judged by {found['judge']['model']}, {found['split']} split, {found['images']} images"
    title += f" drawn from {found['of']}" if found["images"] < found["of"] else ""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Model")
    for column in JUDGED:
        table.add_column(column, justify="right")
    for model, of in found["models"].items():
        table.add_row(Text(model), *map(Text, _judged_cells(of)))
    overall = found["agreement"]
    table.add_row(Text("all together"), "", "", "", "", *map(Text, _judge_agreement(overall)))
    console.print(table)
    for model, of in found["models"].items():
        if of["missing"]:
            told = ", ".join(f"{reason} ({count})" for reason, count in of["missing"].items())
            say(f"{model}: {sum(of['missing'].values())} answers have no verdict: {told}.")
    if any(of["missing"] for of in found["models"].values()):
        say("They are in no figure. The same command asks for these alone.")
    tokens = found["tokens"]
    cost = "" if found["cost"] is None else f", {found['cost']:.2f} at the prices given"
    console.print(
        f"{tokens['prompt_tokens']:,} tokens in and {tokens['completion_tokens']:,} out{cost}.", highlight=False
    )
    if tokens["unmetered"]:
        console.print(f"{tokens['unmetered']} replies came without a count of tokens.", highlight=False)


def _judged_cells(of: Mapping[str, Any]) -> tuple[str, ...]:
    missing = sum(of["missing"].values())
    return (
        str(of["n"]),
        str(missing or ""),
        _judged_share(of, "ee"),
        _judged_share(of, "cs"),
        *_judge_agreement(of["agreement"]),
    )


def _judged_share(of: Mapping[str, Any], name: str) -> str:
    if name not in of:
        return ""
    bounds = of.get(f"{name}_interval")
    return percent(of[name]) + (f" ({percent(bounds[0])} to {percent(bounds[1])})" if bounds else "")


def _judge_agreement(of: Mapping[str, Any]) -> tuple[str, ...]:
    ee, cs = of["ee"], of.get("cs", {"spearman": None})
    shown = ["" if value is None else f"{value:.2f}" for value in (ee["kappa"], cs["spearman"])]
    return "" if ee["raw"] is None else percent(ee["raw"]), *shown
