"""The page, on made-up figures: complete, escaped, self-contained, small, and honest about what is missing."""

import base64
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_up_runs import EVIL, arms_of, html, item, metrics, mistakes, pair, picture
from read_page import Page
from seewhy.proof.heatmaps import Heat
from seewhy.report.cards import last_model
from seewhy.report.chart import HEIGHT, LABEL_GAP, TOP, panels
from seewhy.report.figures import model_name
from seewhy.report.page import Extras
from seewhy.report.pictures import Pictures
from seewhy.report.sections import commands
from seewhy.results import Gallery
from seewhy.results_json import decode


@pytest.fixture
def image(tmp_path: Path) -> str:
    return picture(tmp_path / "bird.png")


def heat(image: str) -> dict[str, Heat]:
    heat_RK = np.zeros((4, 4), np.uint8)
    heat_RK[0, 3] = 255
    return {image: Heat((900, 600), (150.0, 0.0, 750.0, 600.0), {"red crown": heat_RK})}


def test_page_shows_figures_curves_and_marked_reasons(image: str):
    shown = [item(image, "Sorrel Wren"), item(image, "Ivo Wren", correct=False)]
    page = Page(html(metrics(), shown, title="demo"))
    for words in ("93.1 %", "90.7\u201395.5", "NL, round 3", "94.3 %", "480 test images", "Sorrel Wren", "NL 90.2"):
        assert words in page.text
    for words in ("✓ true red crown", "◐ hidden long pointed tail", "✗ false white wing bar", "✓ right label"):
        assert words in page.text
    curves = page.of("svg", role="img")
    assert len(curves) == 3
    assert all(len(attrs["aria-labelledby"].split()) == 2 for attrs in curves)  # pyright: ignore[reportOptionalMemberAccess]
    assert "round 3 93.1 %" in page.text
    assert all(attrs["alt"] for attrs in page.of("img"))


def test_every_arm_stands_in_the_summary_the_curves_and_the_table(image: str):
    page = Page(html(metrics(arms=True), [item(image, "Wren")], title="arms"))
    for key in ("nl", "lge", "unfiltered", "class_level", "rounds"):
        assert page.of("polyline", class_=key)
        assert page.of("tr", class_=key)
    assert len(page.of("svg", role="img")) == 4
    assert "every round of every arm" in page.text
    assert "L+GE, round 2" in page.text


def test_everything_from_data_and_models_is_escaped(image: str):
    evil = item(image, EVIL)
    evil["question"] = EVIL
    evil["answers"][-1] |= {"text": EVIL, "model": EVIL, "stated": [{"concept": EVIL, "verdict": "true"}]}
    wrong = pair(image, EVIL, EVIL) | {"text": EVIL, "only_label": [EVIL], "only_named": [EVIL]}
    heats = {image: Heat((900, 600), (0.0, 0.0, 900.0, 600.0), {EVIL: np.full((2, 2), 255, np.uint8)})}
    extras = Extras(heats=heats, no_heats=EVIL, output=EVIL)
    told = {"title": EVIL, "config": EVIL, "audit_fault": EVIL}
    page_html = html(metrics(), [evil], confusion=mistakes(wrong), extras=extras, **told)
    page = Page(page_html)
    assert len(page.of("script")) == 1
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert "alert" not in re.search(r"<script>(.*?)</script>", page_html, re.DOTALL)[1]  # pyright: ignore[reportOptionalSubscript]
    assert page_html.count("<script>alert") == 0
    assert page.text.count(EVIL) >= 15
    assert page.of("img")[0]["alt"] == f"Image of the class {EVIL}"
    assert page.of("li", class_="card")[0]["data-label"] == EVIL


def test_page_stands_alone_and_allows_nothing_but_itself(image: str):
    page_html = html(
        metrics(), [item(image, "Wren")], title="demo", config="seed: 0\n", extras=Extras(heats=heat(image))
    )
    page = Page(page_html)
    links = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href", "srcset", "data") and v]
    assert len([link for link in links if link.startswith("data:image/")]) == 2
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert "style" not in {name for _, attrs in page.tags for name in attrs}
    assert "url(" not in page_html
    assert "@import" not in page_html
    (content,) = [str(a["content"]) for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert content.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page_html, re.DOTALL)[1]  # pyright: ignore[reportOptionalSubscript]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in content
    assert len(page_html) < 80_000


def test_a_reason_with_a_heat_is_a_button_that_says_where(image: str):
    shown = item(image, "Wren")
    shown["answers"][-1]["stated"][0]["box"] = [400, 20, 500, 90]
    page = Page(html(metrics(), [shown], title="demo", extras=Extras(heats=heat(image))))
    (button,) = page.of("button", class_="reason")
    assert button["aria-pressed"] == "false"
    assert "red crown ; the model looks at the top right" in page.text
    (layer,) = page.of("svg", class_="layer")
    assert layer["viewbox"] == "0 0 900 600"
    assert page.of("rect", class_="box")[0]["width"] == "100"


def test_page_without_truth_claims_none(image: str):
    page = Page(html(metrics(truth=False), [item(image, "Lime", truth=False)], title="fruit"))
    assert "? unverified red crown" in page.text
    assert "so no reason was checked" in page.text
    assert "Reasons true" not in page.text
    assert "Concept selection" not in page.text
    assert len(page.of("svg", role="img")) == 2


def test_every_figure_shows_what_was_counted_and_ee_what_it_leaves_out(image: str):
    figures = metrics()
    few = {"stated_true_n": 5, "stated_true_images": 4, "stated_unverified": 0.6, "accuracy_n": 480}
    figures["rounds"][-1] |= {"any_reason": 0.962, "ee_n": 480, **few}
    marked = item(image, "Wren", verdicts=("true", "unverified", "unverified"))
    page = Page(html(figures, [marked], title="few"))
    assert page.text.count("n 5 4 images") == 3  # in the headline, in the table and in that of all rounds
    assert "unmarked 60.0 %" in page.text
    assert "EE counts only phrases of the concept bank; any reason, in whatever words: 96.2 %." in page.text
    assert "any 96.2 %" in page.text
    assert "? unverified ones nobody has marked for that image" in page.text


def test_page_of_the_base_alone(image: str):
    alone = {"base": metrics()["base"], "rounds": []}
    shown = item(image, "Wren")
    page = Page(html(alone, [shown | {"answers": shown["answers"][1:2]}], title="base"))
    assert "0.4 %" in page.text
    assert "no tuned model is measured yet" in page.text
    assert "Over the rounds" not in page.text


def test_an_empty_split_and_an_empty_gallery_are_said():
    page = Page(html({"base": {}}, [], title="empty", confusion=mistakes() | {"answers": 0, "wrong": 0}))
    assert "Nothing has been measured yet" in page.text
    assert "There was no answer to count" in page.text
    assert not page.of("script")


def test_a_run_with_missing_rounds_shows_what_is_there(image: str):
    figures = metrics(arms=True)
    figures["rounds"] = figures["rounds"][:2]
    extras = Extras(manifest={"config": {"rounds": 4}, "versions": {"python": "3.11.7"}})
    page = Page(html(figures, [item(image, "Wren")], title="half", extras=extras))
    assert "The run is not finished: 2 of 4 rounds have been measured" in page.text
    (accuracy, *_) = panels(arms_of(figures))
    steps = {curve.key: len(curve.points) for curve in accuracy.curves}
    assert steps == {"rounds": 3, "nl": 4, "lge": 4, "unfiltered": 3, "class_level": 4}
    places = {curve.key: [p.x for p in curve.points] for curve in accuracy.curves}
    assert places["unfiltered"][1] == places["nl"][2]


def test_an_image_that_is_gone_is_named_on_its_card(tmp_path: Path, image: str):
    gone = str(tmp_path / "gone.png")
    wrong = mistakes(pair(gone, "Wren", "Ivo Wren"))
    page = Page(html(metrics(), [item(gone, "Wren"), item(image, "Ivo Wren")], title="demo", confusion=wrong))
    assert page.text.count("gone.png cannot be shown") == 2
    assert len(page.of("img")) == 1


def test_confused_classes_with_what_tells_them_apart(image: str):
    pairs = [pair(image, "Wren", "Ivo Wren"), pair(image, "Crow", "Rook", 3, alike=True)]
    pairs += [pair(image, f"Bird {n}", "Rook", 1) for n in range(198)]
    page_html = html(metrics(), [], title="demo", confusion=mistakes(*pairs))
    page = Page(page_html)
    for words in ("After round 3, 208 of 480 answers are wrong: 205 name one other class, 2 none, 1 several",
                  "4 of 20 answers about Wren", "The two lists are the same (11 concepts)",
                  "And 188 more pairs"):  # fmt: skip
        assert words in page.text
    assert len(page.of("u")) == 11
    assert "red crown (stated)" in page.text


def test_a_huge_run_stays_small_and_says_what_it_leaves_out(tmp_path: Path):
    rng = np.random.default_rng(0)
    shown = []
    for n in range(12):
        path = tmp_path / f"{n}.png"
        Image.fromarray(rng.integers(0, 256, (330, 330, 3), dtype=np.uint8)).save(path)
        shown.append(item(str(path), f"Class {n:03d}"))
        shown[-1]["answers"][-1]["text"] = "very long " * 20_000
    figures = metrics()
    for values in (figures["base"], *figures["rounds"], *figures["nl"]):
        values |= {"n": 50_000}
    page_html = html(figures, shown, title="huge")
    assert len(page_html.encode()) < 15_000_000
    page = Page(page_html)
    assert "Of 50,000 images" in page.text
    pictures = Pictures(budget=300_000)
    kept = [pictures.photo(s["image"]) for s in shown[:6]]
    assert 0 < sum(bool(p.uri) for p in kept) < 6
    assert sum(len(p.uri) for p in kept) <= 300_000
    assert kept[-1].problem == "This picture is left out to keep the page small."


def test_end_labels_of_curves_that_meet_do_not_touch():
    for arms in (False, True):
        for panel in panels(arms_of(metrics(arms=arms))):
            heights = sorted(curve.label_y for curve in panel.curves)
            assert all(below - above >= LABEL_GAP - 1e-6 for above, below in pairwise(heights))
            assert heights[0] >= TOP - 1
            assert heights[-1] < HEIGHT


def test_a_scale_that_does_not_begin_at_nothing_says_so():
    by_key = {panel.key: panel for panel in panels(arms_of(metrics(arms=True)))}
    assert (by_key["accuracy"].floor, by_key["stated_true"].floor) == ("", "from 50 %")
    assert by_key["stated_true"].y_ticks[0][1] == "50 %"


def test_commands_that_make_it_again():
    manifest = {"versions": {"python": "3.11.7", "torch": "2.13.0+cpu", "seewhy": "0.1.0"}}
    made = [command for command, _ in commands(manifest, "output: runs/my birds\nseed: 1\n", None, "x")]
    assert made == [
        "pip install seewhy==0.1.0 torch==2.13.0",
        "seewhy run config.yaml",
        "seewhy report 'runs/my birds'",
    ]
    made = [command for command, _ in commands({}, "output: a/seed-0\n", [0, 1], "a")]
    assert made == ["seewhy compare config.yaml --seeds '[0, 1]' --output a", "seewhy report a"]


def test_names_of_models():
    assert [model_name(model) for model in ("base", "round 3", "nl/round 3", "new/round 1")] == [
        "Untuned", "Round 3", "NL, round 3", "new, round 1",
    ]  # fmt: skip
    assert last_model(decode(Gallery, {"cards": [item("x.png", "Wren")]}).cards) == "round 3"
