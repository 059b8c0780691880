"""What the commands print before a run: checks of data, banks and this machine, drafts, and costs.

Texts from data or from a model are printed as they stand, never as markup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seewhy.cost.estimate import RunCost, StageCost, smallest_gpu
from seewhy.cost.hardware import USABLE, UTILISATION, Gpu
from seewhy.cost.scaling import DISK, Scaled
from seewhy.doctor import Check, broken
from seewhy.domain.check import DataCheck
from seewhy.domain.drafting import Draft, sources_path
from seewhy.endpoint import Prices, Usage
from seewhy.proof.bank import BankCheck
from seewhy.report.terminal import plain_table
from seewhy.run.verify import RunCheck

SHOWN = 10
"""Files, rows or classes that are listed under a finding on the data; --json has all of them."""
SHOWN_CLASSES = 40
"""Classes in the table of a data check, those with the fewest images first."""
SHOWN_FINDINGS = 40
"""Findings on a bank that are shown at each level; --json has all of them."""
_STYLE = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_data_check(checked: DataCheck, console: Console) -> None:
    """Print the counts of images, then each finding with the first of what it was found in."""
    splits = [split for split in ("train", "val", "test") if any(of.get(split) for of in checked.counts.values())]
    fewest = sorted(checked.counts, key=lambda label: (checked.counts[label].get("train", 0), label))
    body = [(label, [f"{checked.counts[label].get(split, 0):,}" for split in splits]) for label in fewest]
    if len(body) > SHOWN_CLASSES:
        body = [*body[:SHOWN_CLASSES], (f"and {len(body) - SHOWN_CLASSES:,} more", [""] * len(splits))]
    total = [f"{sum(of.get(split, 0) for of in checked.counts.values()):,}" for split in splits]
    console.print(plain_table(checked.name, "class", splits, [*body, (f"{len(checked.counts):,} classes", total)]))
    for finding in checked.findings:
        count = f" ({len(finding.items):,})" if finding.items else ""
        level = Text(f"{finding.level}: ", style=_STYLE[finding.level])
        console.print(level.append(f"{finding.message}{count}", style="default"), soft_wrap=True)
        for item in finding.items[:SHOWN]:
            _say(console, f"  - {item}")
        if len(finding.items) > SHOWN:
            _say(console, f"  - and {len(finding.items) - SHOWN:,} more; --json lists all")
    warnings = sum(finding.level == "warning" for finding in checked.findings)
    _say(
        console, f"{checked.errors} errors, {warnings} warnings." if checked.errors + warnings else "Nothing is wrong."
    )


def print_run_check(checked: RunCheck, console: Console) -> None:
    """Print what of a run folder is damaged or missing, and how many files are whole."""
    for damage in checked.findings:
        console.print(Text("error: ", style="red").append(f"{damage.file} {damage.fault}", "default"), soft_wrap=True)
        _say(console, f"  {damage.remedy[0].upper()}{damage.remedy[1:]}.")
    if checked.unfinished:
        _say(console, f"Not finished, which the next start goes on with: {', '.join(checked.unfinished)}.")
    if checked.older:
        _say(
            console,
            f"{len(checked.older):,} files are of a version without checksums: they are read, and cannot be verified.",
        )
    verdict = f"{len(checked.findings)} damaged or missing" if checked.findings else "nothing is damaged or missing"
    _say(console, f"{checked.run}: {checked.whole:,} files are as they were written; {verdict}.")


def print_bank_check(found: BankCheck, console: Console) -> None:
    """Print the findings on a concept bank, the worst first, and how many there are."""
    for level in found.counts:
        findings = [finding for finding in found.findings if finding.level == level]
        if not findings:
            continue
        body = [(f.kind, (f.label, "; ".join(f.concepts), f.text)) for f in findings[:SHOWN_FINDINGS]]
        console.print(plain_table(f"{level.capitalize()}s", "What", ("Class", "Concepts", ""), body, "left"))
        if len(findings) > SHOWN_FINDINGS:
            _say(console, f"and {len(findings) - SHOWN_FINDINGS} more {level}s; --json has them all.")
    counts = ", ".join(f"{count} {level}{'s' * (count != 1)}" for level, count in found.counts.items())
    _say(console, f"{found.concepts} concepts of {found.classes} classes: {counts}.")


def print_draft(found: Draft, bank: Path, classes: int, prices: Prices | None, console: Console) -> None:
    """Print how many drafted concepts were kept, why the rest were dropped, what is missing, and what it took."""
    concepts = sum(map(len, found.bank.values()))
    where = f"{len(found.bank)} of {classes} classes ({sources_path(bank)} has sources)"
    _say(console, f"Wrote {bank}: {concepts} concepts of {where}.")
    if found.dropped:
        dropped = ", ".join(f"{reason} ({count})" for reason, count in found.dropped.most_common())
        _say(console, f"Dropped: {dropped}.")
    usage = found.usage
    cost = "" if prices is None else f", {prices.cost(usage):.2f} at the prices given"
    _say(console, f"Took {usage.prompt_tokens:,} tokens in and {usage.completion_tokens:,} out{cost}.")
    for label, reason in found.missing.items():
        _say(console, f"No concept of {label}: {reason}.")
    if found.missing:
        _say(console, "The same command asks for these alone.")


def print_machine_check(checks: Sequence[Check], console: Console) -> None:
    """Print a line per check of this machine, with what to do below it."""
    marks = {"ok": ("ok   ", "green"), "note": ("note ", "yellow"), "error": ("error", "red")}
    for check in checks:
        console.print(Text.assemble(marks[check.state], f" {check.name}: {check.found}"), soft_wrap=True)
        if check.remedy:
            _say(console, f"      {check.remedy}")
    _say(console, "Something that every run needs is broken; see above." if broken(list(checks)) else "Runs work here.")


CAPTION = "read, written: tokens that are computed; unshared: had every text its image computed for itself"


def print_cost(cost: RunCost, console: Console, prices: Prices | None = None) -> None:
    """Print stages, memory, disk, calls, what to change, and last what was assumed."""
    shape, splits = cost.shape, ", ".join(f"{count:,} {split}" for split, count in cost.images.items())
    _say(
        console,
        f"{cost.model}: {shape.total / 1e9:.3g} billion parameters in {cost.dtype}, of which tuning trains "
        f"{cost.trained.parameters / 1e6:,.3g} million. Images: {splits}.",
    )
    console.print(_stages(cost))
    if cost.seconds is not None and cost.gpu is not None:
        _say(console, f"About {_hours(cost.seconds)} on {_place(cost.gpu)}.")
        if cost.scaled is not None:
            _print_scaled(cost.scaled, cost.gpu.name, console)
    _say(console, f"Tuning holds {_memory(cost)}.")
    disk = cost.disk
    _say(
        console,
        f"Disk: {_size(sum(disk.values()))} ({_size(disk['models'])} of models, {_size(disk['adapters'])} of adapters, "
        f"{_size(disk['texts'])} of texts, {_size(disk['checkpoints'])} of checkpoints for a while).",
    )
    for verb, calls in cost.calls.items():
        usage = Usage(calls["requests"], calls["tokens_in"], calls["tokens_out"])
        paid = None if prices is None else prices.cost(usage)
        _say(
            console,
            f"`seewhy {verb}`, where used: {calls['requests']:,.0f} requests, {calls['tokens_in']:,.0f} tokens in, "
            f"{calls['tokens_out']:,.0f} out{'' if paid is None else f', about {paid:,.2f} at the prices given'}.",
        )
    _print_fit(cost, console)
    if cost.faster is not None:
        _say(
            console,
            f"With model.batch_size {cost.faster[0]} it would take about {_hours(cost.faster[1])}, and still fit.",
        )
    assumed = cost.assumed
    _say(
        console,
        f"Assumed, not measured: texts {assumed.length:.0%} of their longest, {assumed.fallback:.0%} of training "
        f"answers unusable, {assumed.again:.0%} of synthesis asked again; {_speed(cost.gpu)}; tensors fill "
        f"{USABLE:.0%} of its memory. Selection and reports are left out.",
    )


def _place(gpu: Gpu) -> str:
    return f"this {gpu.name}" if gpu.is_cpu else f"one {gpu.name}"


def _speed(gpu: Gpu | None) -> str:
    """Return by what speeds the hours were told."""
    if gpu is not None and gpu.is_cpu:
        return (
            f"by ten seconds of measurement, which other work on this machine falsifies, reading reaches "
            f"{gpu.flops / 1e9:,.3g} and tuning {gpu.flops * gpu.use.tuning / 1e9:,.3g} billion operations a second"
        )
    use = UTILISATION if gpu is None else gpu.use
    return (
        f"tuning reaches {use.tuning:.0%} and reading {use.prefill:.0%} of the card's 16-bit peak, writing "
        f"{use.bandwidth:.0%} of its bandwidth and no token faster than {use.layer_seconds * 1e3:.1f} ms a layer"
    )


def _print_scaled(found: Scaled, gpu: str, console: Console) -> None:
    parts = ", ".join(f"{name} {_hours(seconds)}" for name, seconds in found.alone.items())
    _say(
        console,
        f"About {_hours(found.seconds)} on {found.gpus} of them, {found.gpu_hours:,.1f} hours of {gpu} in all: "
        f"{_hours(found.divided)} of what divides among them, and {_hours(sum(found.alone.values()))} "
        f"({found.alone_share:.0%}) of what does not ({parts}; assumed: {DISK / 1e9:g} GB/s from and to the disk).",
    )


def _print_fit(cost: RunCost, console: Console) -> None:
    if cost.gpu is None:
        larger = smallest_gpu(cost.peak)
        _say(
            console, f"The smallest card that holds this is {larger}." if larger else "No card of the table holds this."
        )
    elif cost.fits:
        _say(console, f"It fits: at most {_size(cost.peak)} of the {_size(cost.gpu.memory)} of {_place(cost.gpu)}.")
    elif cost.fits_changed:
        _say(
            console,
            f"It does not fit: {_size(cost.peak)} are needed, and {cost.gpu.name} has {_size(cost.gpu.memory)}. "
            "With these settings it does:",
        )
        _say(console, yaml.safe_dump(nested(cost.overrides), sort_keys=False, default_flow_style=False).rstrip())
    else:
        larger = smallest_gpu(cost.peak)
        there = f"one {larger} holds it as it is" if larger else "no card of the table holds it as it is"
        _say(
            console,
            f"It does not fit on {_place(cost.gpu)} with any batch size, checkpointing and 4-bit weights: {there}. "
            "Take a smaller model, or shorter texts.",
        )


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with dotted names as nested values, as YAML has them."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        group, _, own = name.partition(".")
        found.setdefault(group, {})[own] = value
    return found


def _stages(cost: RunCost) -> Table:
    """Return a table with a row per kind of stage, its rounds and arms together."""
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


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


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
