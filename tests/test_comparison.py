from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from seewhy.config import (
    RunConfig,
)
from seewhy.errors import SeeWhyError
from seewhy.report.terminal import print_comparison
from seewhy.results import Comparison
from seewhy.results_json import read
from seewhy.run import loop
from seewhy.run.comparison import compare
from tiny_run import tiny_run


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return tiny_run(tmp_path)


@pytest.mark.slow
def test_every_arm_is_compared_over_seeds(config: RunConfig) -> None:
    compared = compare(config, [3, 4])
    assert read(Path(config.output) / Comparison.FILE, Comparison) == compared
    arms = {"rounds", "nl", "lge", "unfiltered", "class_level"}
    assert compared.rounds_of.keys() == arms
    assert compared.ours_minus.keys() == arms - {"rounds"}
    assert all(len(figures[0]["accuracy"].seeds) == 2 for figures in compared.rounds_of.values())
    value, low, high = compared.ours_minus["unfiltered"]["ee"]  # one model until round 2
    assert low is not None
    assert high is not None
    assert low < value == 0.0 < high  # which a few images do not know
    console = Console(record=True, width=200)
    print_comparison(compared, console)
    assert "Class level" in console.export_text()


def test_a_seed_named_twice_is_refused_before_any_work(config: RunConfig) -> None:
    with pytest.raises(SeeWhyError, match="each once"):
        compare(replace(config), [1, 1])
    assert not Path(config.output).exists()


def test_controls_that_are_named_are_the_ones_compared(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, ...]] = []

    def run(of_seed: RunConfig, **_options: object) -> None:
        trained.append(of_seed.controls)
        raise SeeWhyError("stopped")

    monkeypatch.setattr(loop, "run", run)
    for given in (("nl", "lge"), ()):
        with pytest.raises(SeeWhyError, match="stopped"):
            compare(replace(config, controls=given), [0])
    assert trained == [("nl", "lge"), ("nl", "lge", "unfiltered", "class_level")]
