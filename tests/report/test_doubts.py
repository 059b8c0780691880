"""What the page says to doubt, drawn from its figures."""

from typing import Any

import pytest

from made_up_runs import arms_of, metrics
from seewhy.report.doubts import Evidence, doubts
from seewhy.results import Gate
from seewhy.results_json import Difference, decode


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "it cannot be told apart from NL (90.2 % against 93.1 %)"),
        ({"nl": 0.95}, "the method is behind NL (95.0 % against 93.1 %)"),
        ({"rounds": 0.85}, "Round 2 was better in accuracy: 89.4 %, against 85.0 % after round 3"),
        ({"others": ()}, "No alternative was trained beside it"),
        ({"minus": {"nl": {"accuracy": Difference(0.03, -0.01, 0.06)}}}, "from NL (+3.0 points, \u22121.0 to +6.0)"),
        ({"seeds": 3}, None),
    ],
)  # fmt: skip
def test_doubts_are_drawn_from_the_figures(change: dict[str, Any], expected: str | None):
    figures = metrics()
    for key in ("nl", "rounds"):
        if key in change:
            figures[key][-1] |= {"accuracy": change[key], "accuracy_interval": [change[key] - 0.02, change[key] + 0.02]}
    ours, *others = arms_of(figures)
    told = doubts(
        Evidence(
            ours, change.get("others", tuple(others)), seeds=change.get("seeds", 1), ours_minus=change.get("minus")
        )
    )
    assert "Of the reasons stated, 3.3 % cannot be seen in their image: 1.9 % false" in told[0]
    assert any("one seed" in line for line in told) == (expected is not None)
    assert expected is None or any(expected in line for line in told)


def test_what_the_round_gate_said_is_told():
    ours, *others = arms_of(metrics())
    last = {"round": 3, "accuracy": 0.8, "against": 2, "differences": {}, "p": {}, "worse_in": ["accuracy"]}
    values = {"best": 2, "stopped_after": 3, "level": 0.02, "rounds": [last]}
    stopped, ended = decode(Gate, values), decode(Gate, values | {"best": 3, "stopped_after": None})
    told = doubts(Evidence(ours, tuple(others), planned=4, gate=stopped))
    assert told[0] == "Round 3 was worse than round 2 on validation images, in accuracy: the run ended there."
    assert any("which export and explain use, is round 2" in line for line in told)
    assert not [line for line in doubts(Evidence(ours, tuple(others), planned=3, gate=ended)) if "is round" in line]


def test_a_lead_beyond_chance_is_not_doubted():
    ours, *others = arms_of(metrics())
    minus = {"nl": {"accuracy": Difference(0.03, 0.01, 0.06)}}
    assert not [line for line in doubts(Evidence(ours, tuple(others), ours_minus=minus)) if "NL" in line]


def near(values: dict[str, Any], key: str, value: float) -> None:
    values |= {key: value, f"{key}_interval": [value - 0.02, value + 0.02]}


def test_noise_is_no_doubt():
    figures = metrics()
    near(figures["nl"][-1], "accuracy", 0.931 + 1 / 480)  # one image more
    near(figures["rounds"][1], "accuracy", 0.931 + 1 / 480)
    near(figures["base"], "stated_true", 0.967 + 0.002)
    ours, *others = arms_of(figures)
    told = " ".join(doubts(Evidence(ours, tuple(others))))
    for words in ("NL", "Round 2 was better", "The untuned model states fewer"):
        assert words not in told
    minus = {"nl": {"accuracy": Difference(-0.001, -0.01, 0.008)}}
    assert "NL" not in " ".join(doubts(Evidence(ours, tuple(others), ours_minus=minus)))


def test_doubts_are_ranked_by_what_they_do_to_a_decision():
    figures = metrics()
    near(figures["nl"][-1], "accuracy", 0.97)
    near(figures["rounds"][1], "accuracy", 0.98)
    figures["rounds"][-1] |= {"stated_true_n": 12, "stated_true_images": 7, "stated_unverified": 0.8, "ee": 0.75}
    ours, *others = arms_of(figures)
    told = doubts(Evidence(ours, tuple(others), planned=4, losses=[("Yes or no", 0.9, 0.5)]))
    order = [
        "The run is not finished", "Of the 12 reasons checked", "Only 12 reasons in 7 images could be checked",
        "80.0 % are phrases that nobody has marked", "Tuning has cost reasons: 75.0 %", "the method is behind NL",
        "Round 2 was better in accuracy", "Tuning has cost other abilities", "Only one seed",
    ]  # fmt: skip
    places = [next(i for i, line in enumerate(told) if words in line) for words in order]
    assert places == sorted(places)


def test_reasons_in_other_words_than_the_banks_are_a_doubt():
    figures = metrics()
    figures["base"]["ee"] = 0.2
    figures["rounds"][-1] |= {"ee": 0.3, "any_reason": 0.97}
    ours, *others = arms_of(figures)
    told = doubts(Evidence(ours, tuple(others)))
    assert any("Only 30.0 % of the answers state a phrase of the bank, while 97.0 %" in line for line in told)
