"""What `seewhy plan` prints."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from seewhy.cost.estimate import RunCost, StageCost, smallest_gpu
from seewhy.cost.gpus import USABLE, UTILISATION
from seewhy.endpoint import Prices, Usage

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
        kinds.setdefault(stage.tokens.name.rpartition("/")[2], []).append(stage)
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
