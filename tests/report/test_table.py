"""The tables of the terminal: what a figure looks like, and that a narrow one is cut in two and not in the middle."""

from typing import Any, get_args, get_type_hints

import pytest
from rich.console import Console

from made_up_runs import metrics
from seewhy.config import RunConfig
from seewhy.report.figures import ARM_NAMES, COLUMNS
from seewhy.report.table import Cell, cell, rows
from seewhy.report.terminal import print_comparison, print_results
from seewhy.results import Comparison, Figures, Metrics
from seewhy.results_json import decode
from seewhy.run.stages import ARMS, CONTROLS


def figures(seeds: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in COLUMNS:
        value = 4.273 if key == "fs" else 0.931
        found |= {key: value, f"{key}_interval": [value - 0.023, value + 0.025]}
        found |= {f"{key}_seeds": [value] * seeds} if seeds else {}
    return found


METRICS = {
    "base": {"n": 480, "split": "test", **figures()},
    "rounds": [{"round": 1, **figures()}],
    "class_level": [{"round": 1, **figures()}],
}
COMPARED = {
    "split": "test", "seeds": [0, 1], "rounds": 2, "base": figures(2),
    "rounds_of": {"rounds": [figures(2)], "nl": [figures(2)]},
    "ours_minus": {"nl": {key: [0.1234, 0.1014, 0.1451] for key in COLUMNS}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "bounds", "expected"),
    [
        ("cs", 0.6789, [0.65, 1.0], Cell("67.9 %", "65.0\u2013100")),
        ("fs", 4.273, [4.1149, 4.4451], Cell("4.27", "4.11\u20134.45")),
        ("fs", 42.73, [41.149, 44.451], Cell("42.7", "41.1\u201344.5")),
        ("fs", 1.0, [1.0, 1.004], Cell("1.00", "1.00\u20131.00")),
        ("fs", 1234.5, [990.4, 2000.0], Cell("1234", "990\u20132000")),
    ],
)
def test_shares_are_percentages_and_perplexities_are_not(key: str, value: float, bounds: list[float], expected: Cell):
    assert cell(decode(Figures, {key: value, f"{key}_interval": bounds}), key) == expected


FEW = {
    "n": 157, "split": "test", "accuracy": 0.74, "accuracy_n": 157, "ee": 0.02, "ee_n": 157, "any_reason": 0.96,
    "stated_true": 0.0, "stated_true_n": 5, "stated_true_images": 4, "stated_true_interval": [0.0, 0.52],
    "stated_unverified": 0.6,
}  # fmt: skip


def test_every_figure_shows_what_was_counted():
    few = decode(Figures, FEW)
    assert cell(few, "accuracy").notes == ("n 157",)
    assert cell(few, "ee").notes == ("any 96.0 %", "n 157")
    assert cell(few, "stated_true").notes == ("unmarked 60.0 %", "n 5", "4 images")
    assert cell(few, "stated_true").line == "0.0 % (0.0\u201352.0; unmarked 60.0 %; n 5; 4 images)"
    text = text_of(print_results, decode(Metrics, {"base": FEW, "rounds": []}), 100)
    for words in ("n 157", "n 5", "4 images", "any 96.0 %", "EE counts only phrases of the concept bank"):
        assert words in text


def test_no_reason_at_all_is_said_beside_ee_and_nothing_unmarked_is_not():
    assert cell(decode(Figures, {"ee": 0.0, "any_reason": 0.0}), "ee").beside == "any 0.0 %"
    assert cell(decode(Figures, {"stated_true": 0.9, "stated_unverified": 0.0}), "stated_true").beside == ""


def test_a_figure_that_was_not_measured_is_empty():
    assert cell(decode(Figures, {"cs": 0.5}), "fs") == Cell("", "")


def text_of(show: Any, what: Any, width: int) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        show(what, console)
    return captured.get()


@pytest.mark.parametrize("show", [print_results, print_comparison])
def test_every_width_shows_all_of_every_figure(show: Any):
    what = decode(Metrics, METRICS) if show is print_results else decode(Comparison, COMPARED)
    for width in (60, 80, 100, 160):
        text = text_of(show, what, width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        assert text.count("93.1 %") == 3 * (len(COLUMNS) - 1)
        assert text.count("4.27") >= 3
    assert text_of(show, what, 160).count("Base, untuned") == 1
    assert text_of(show, what, 80).count("Base, untuned") == 2


def test_a_difference_of_shares_is_in_points_and_of_perplexities_in_perplexity():
    text = text_of(print_comparison, decode(Comparison, COMPARED), 160)
    assert text.count("+12.3 ") + text.count("+12.3\n") == len(COLUMNS) - 1
    assert text.count("+10.1 to +14.5") == len(COLUMNS) - 1
    assert text.count("+0.10 to +0.15") == 1


def test_table_on_the_terminal():
    console = Console(record=True, width=140)
    print_results(decode(Metrics, metrics()), console)
    text = console.export_text()
    for words in ("480 test images", "Base, untuned", "Round 3", "93.1 %", "NL, round 2", "whole list 68.2 %"):
        assert words in text


def test_table_fits_eighty_columns():
    console = Console(record=True, width=80)
    print_results(decode(Metrics, metrics()), console)
    assert "…" not in (text := console.export_text())
    assert "88.6\u201393.4" in text


def test_columns_without_a_figure_are_left_out():
    assert rows(decode(Metrics, metrics(truth=False)))[0] == ["Accuracy", "Lenient accuracy", "Gives a reason (EE)"]
    columns, body = rows(decode(Metrics, metrics()))
    assert len(columns) == 6
    assert body[-1].cells[-1].value == ""


def test_every_arm_has_a_name_and_every_control_can_be_asked_for() -> None:
    """An arm without a name would be missing in the tables without a word."""
    assert list(ARM_NAMES) == list(ARMS)
    assert get_args(get_args(get_type_hints(RunConfig)["controls"])[0]) == tuple(CONTROLS)
