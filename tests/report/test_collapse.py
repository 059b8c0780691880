"""What forbids a use of a model: seen, said first on page, terminal and card, with a remedy for what failed."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from made_up_runs import item, metrics, mistakes, picture, write_run
from read_page import Page
from seewhy.report.doubts import REASONS, Evidence, collapses, of_run
from seewhy.report.page import write_page
from seewhy.report.table import Line
from seewhy.report.terminal import print_collapses
from seewhy.results import Confusion, Figures, Gate, Metrics, Support
from seewhy.results_json import decode, encode

LOW = Support(36, 9, 900, 0.25, 0.33, {f"leek stalk {n}": ("leek",) for n in range(27)})
NEVER = {"never_named": [{"label": "Leek", "of": 20}, {"label": "Onion", "of": 2}]}


def line(*rounds: dict[str, Any], base: float = 0.82) -> Line:
    numbered = tuple(
        decode(Figures, {"round": n, "accuracy": 0.7, **values}) for n, values in enumerate(rounds, start=1)
    )
    return Line("rounds", decode(Figures, {"ee": base, "accuracy": 0.5}), numbered)


@pytest.mark.parametrize(
    ("rounds", "known", "stage", "words"),
    [
        # the vegetables of a newcomer: no words, then bare names, then no reasons
        (({"ee": 0.02, "ee_n": 157, "fallback_share": 0.96},), {"support": LOW}, "describe", "model.name_or_path"),
        (({"ee": 0.02, "selected_per_image": 0.2},), {}, "select", "select.unlisted_std"),
        (({"ee": 0.02, "fallback_share": 0.96},), {}, "synthesise", "synthesise.tries"),
        (({"ee": 0.9, "fallback_share": 0.1}, {"ee": 0.1, "fallback_share": 0.8}), {}, "sample", "samples_per_query"),
        (({"ee": 0.1, "fallback_share": 0.1},), {}, "tune", "learning_rate"),
    ],
)
def test_the_remedy_is_that_of_the_stage_that_failed(rounds: Any, known: dict[str, Any], stage: str, words: str):
    (found,) = collapses(Evidence(line(*rounds), **known))
    assert (found.head, found.stage) == (REASONS, stage)
    assert words in found.remedy
    assert f"in {100 * rounds[-1]['ee']:.1f} % of its answers" in found.why
    assert "the untuned model in 82.0 %" in found.why


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({"ee": 0.86}, 1.0),  # fruit: fewer reasons, and no collapse
        ({"ee": 0.31, "any_reason": 0.97}, 0.2),  # reasons in other words than the bank's, as before tuning
        ({"ee": 1.0, "stated_true": 0.0, "stated_true_interval": [0.0, 0.52]}, 1.0),  # five reasons prove nothing
        ({"ee": 0.9, "fallback_share": 0.4}, 0.9),
    ],
)
def test_less_is_no_collapse(values: dict[str, Any], base: float):
    assert collapses(Evidence(line(values, base=base))) == []


def test_reasons_that_are_mostly_untrue_are_not_to_be_used():
    values = {"ee": 1.0, "stated_true": 0.1, "stated_true_interval": [0.05, 0.2], "stated_true_n": 90}
    (found,) = collapses(Evidence(line(values)))
    assert "10.0 % are true of their image (n 90)" in found.why


def test_a_class_that_no_answer_names_is_said_and_one_of_two_images_is_not():
    (found,) = collapses(Evidence(line({"ee": 1.0}), confusion=decode(Confusion, mistakes() | NEVER)))
    assert found.head == "Do not use it for Leek (20 images)."


def test_the_round_that_is_handed_out_is_told_apart():
    (found,) = collapses(Evidence(line({"ee": 0.9}, {"ee": 0.1}), gate=Gate(1, None, 0.05, ())))
    assert found.head == "Do not use the reasons of the model after round 2."
    assert "Round 1, the best on validation images, gives a reason in 90.0 %" in found.why


def test_an_untuned_model_is_not_judged():
    assert collapses(Evidence(line(), support=LOW, confusion=decode(Confusion, mistakes() | NEVER))) == []


def test_it_heads_the_page_and_the_terminal(tmp_path: Path):
    figures = metrics()
    figures["rounds"][-1] |= {"ee": 0.02, "fallback_share": 0.96}
    figures["rounds"][0] |= {"fallback_share": 0.96}
    run = write_run(
        tmp_path / "run", figures, [item(picture(tmp_path / "a.png"), "Wren")], confusion=mistakes() | NEVER,
        support=encode(LOW),
    )  # fmt: skip
    page = Page(write_page(str(run)).read_text(encoding="utf-8"))
    assert page.text.index(REASONS) < page.text.index("On 480 test images")
    assert page.text.index(REASONS) < page.text.index("Do not use it for Leek (20 images).")
    assert "Only 25.0 % of the bank's 36 phrases are in words that the model uses." in page.text
    console = Console(width=100, force_terminal=False)
    with console.capture() as captured:
        print_collapses(of_run(run, decode(Metrics, figures)), console)
    assert captured.get().startswith(REASONS)
    sound = decode(Metrics, figures | {"rounds": [{**r, "fallback_share": 0.1} for r in figures["rounds"]]})
    # the second round was sound: its card says nothing of the third
    assert of_run(run, sound, 2)[0].stage == ("describe")
    (run / "support.json").unlink()
    assert of_run(run, sound, 2) == []
