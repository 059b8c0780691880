"""The page and the table, on made-up figures: complete, escaped, self-contained."""

import json
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from seewhy.errors import SeeWhyError
from seewhy.report.chart import panels
from seewhy.report.page import build_page, write_page
from seewhy.report.table import print_results, rows

TRUTH = ("stated_true", "stated_hidden", "stated_wrong", "stated_false")
EVIL = '<script>alert("x")</script>'


def model(round_: int | None, accuracy: float, ee: float, shares: tuple[float, ...] | None) -> dict[str, Any]:
    values: dict[str, Any] = {"split": "test", "n": 480, "answers": 480} | ({"round": round_} if round_ else {})
    figures = {"accuracy": accuracy, "accuracy_lenient": min(1, accuracy + 0.02), "ee": ee}
    figures |= dict(zip(TRUTH, shares, strict=True)) if shares else {}
    for key, value in figures.items():
        values |= {key: value, f"{key}_interval": [max(0, value - 0.024), min(1, value + 0.024)]}
    return values


def metrics(*, truth: bool = True) -> dict[str, Any]:
    def shares(*values: float) -> tuple[float, ...] | None:
        return values if truth else None

    first = model(1, 0.712, 0.998, shares(0.931, 0.022, 0.047, 0.069))
    if truth:
        first |= {"selection_precision": 0.943, "selection_precision_interval": [0.93, 0.95], "selection_recall": 0.41}
        first |= {"selection_precision_whole_list": 0.682}
    return {
        "base": model(None, 0.004, 0.91, shares(0.71, 0.07, 0.22, 0.29)),
        "rounds": [
            first,
            model(2, 0.894, 1.0, shares(0.958, 0.016, 0.026, 0.042)),
            model(3, 0.931, 1.0, shares(0.967, 0.014, 0.019, 0.033)),
        ],
        "nl": [model(1, 0.74, 0.0, None), model(2, 0.885, 0.0, None), model(3, 0.902, 0.0, None)],
    }


def item(image: str, label: str, *, truth: bool = True, correct: bool = True, reasons: int = 3) -> dict[str, Any]:
    concepts = ["red crown", "long pointed tail", "white wing bar", "short thick bill"][:reasons]
    verdicts = ["true", "hidden", "false", "true"] if truth else ["unverified"] * 4
    stated = [{"concept": c, "verdict": v} for c, v in zip(concepts, verdicts, strict=False)]
    text = f"This is a {label}. It has a red crown, a long pointed tail and a white wing bar."
    return {
        "image": image,
        "label": label,
        "question": "Based on the visual content, what is the specific name of this bird? Provide an explanation.",
        "answers": [
            {"model": "base", "text": "A bird with a red crown.", "correct": False, "stated": stated[:1]},
            {"model": "round 1", "text": "NOT SHOWN", "correct": False, "stated": []},
            {"model": "round 3", "text": text, "correct": correct, "stated": stated},
        ],
    }


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "bird.png"
    Image.new("RGB", (900, 600), (120, 90, 60)).save(path)
    return str(path)


def test_page_shows_figures_curves_and_marked_reasons(image: str):
    page = Page(
        build_page(metrics(), [item(image, "Sorrel Wren"), item(image, "Ivo Wren", correct=False)], title="demo")
    )
    for words in ("93.1 %", "90.7\u201395.5", "NL, round 3", "94.3 %", "480 test images", "Sorrel Wren"):
        assert words in page.text
    for words in (
        "✓ true red crown",
        "◐ hidden long pointed tail",
        "✗ false white wing bar",
        "✓ right label",
        "✗ wrong label",
    ):
        assert words in page.text
    assert "NOT SHOWN" not in page.text
    curves = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(curves) == 3
    assert "round 3 93.1 %" in (curves[0]["aria-label"] or "")
    assert all(attrs["alt"] for tag, attrs in page.tags if tag == "img")


def test_everything_from_data_and_models_is_escaped(image: str):
    evil = item(image, EVIL)
    evil["question"] = EVIL
    evil["answers"][-1] |= {"text": EVIL, "model": EVIL, "stated": [{"concept": EVIL, "verdict": "true"}]}
    html = build_page(metrics(), [evil], title=EVIL, config=EVIL)
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script" not in html
    assert page.text.count(EVIL) >= 7
    assert [attrs["alt"] for tag, attrs in page.tags if tag == "img"] == [f"Image of the class {EVIL}"]


def test_page_stands_alone(image: str):
    html = build_page(metrics(), [item(image, "Wren")], title="demo", config="seed: 0\n")
    page = Page(html)
    links = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href", "srcset", "data")]
    assert links
    assert all(link and link.startswith("data:image/jpeg;base64,") for link in links)
    assert not {"link", "script", "iframe"} & {tag for tag, _ in page.tags}
    assert "url(" not in html
    assert "@import" not in html
    assert len(html) < 60_000


def test_page_without_truth_claims_none(image: str):
    page = Page(build_page(metrics(truth=False), [item(image, "Lime", truth=False)], title="fruit"))
    assert "? unverified red crown" in page.text
    assert "the reasons are unverified" in page.text
    assert "Reasons" not in page.text
    assert "Concept selection" not in page.text
    assert len([1 for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]) == 2


def test_page_of_the_base_alone(image: str):
    alone = {"base": metrics()["base"], "rounds": []}
    shown = item(image, "Wren") | {"answers": item(image, "Wren")["answers"][:1]}
    page = Page(build_page(alone, [shown], title="base"))
    assert "0.4 %" in page.text
    assert "Over the rounds" not in page.text


def test_end_labels_of_curves_that_meet_do_not_touch():
    for panel in panels(metrics()):
        heights = sorted(curve.last_y for curve in panel.curves)
        assert len(heights) == (1 if panel.title == "Reasons true" else 2)
        assert all(below - above >= 13.9 for above, below in pairwise(heights))


def test_write_page_reads_the_run_folder(tmp_path: Path, image: str):
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps(metrics()))
    (run / "gallery.json").write_text(json.dumps([item(image, "Zennor Tanager")]))
    (run / "config.yaml").write_text("seed: 11\n")
    written = write_page(str(run))
    assert written == run / "report.html"
    assert "seed: 11" in written.read_text(encoding="utf-8")
    before = written.read_bytes()
    (run / "gallery.json").write_text("[{")
    with pytest.raises(SeeWhyError, match=r"gallery\.json is damaged"):
        write_page(str(run))
    assert written.read_bytes() == before
    assert sorted(p.name for p in run.iterdir()) == ["config.yaml", "gallery.json", "metrics.json", "report.html"]


@pytest.mark.parametrize("missing", ["metrics.json", "gallery.json", "config.yaml"])
def test_write_page_names_the_missing_file(tmp_path: Path, missing: str):
    for name in {"metrics.json", "gallery.json", "config.yaml"} - {missing}:
        (tmp_path / name).write_text("{}")
    with pytest.raises(SeeWhyError, match=rf"{missing}.*seewhy run"):
        write_page(str(tmp_path))


def test_an_image_that_is_gone_is_named(tmp_path: Path):
    with pytest.raises(SeeWhyError, match=r"gone\.png"):
        build_page(metrics(), [item(str(tmp_path / "gone.png"), "Wren")], title="demo")


def test_table_on_the_terminal():
    console = Console(record=True, width=140)
    print_results(metrics(), console)
    text = console.export_text()
    for words in ("480 test images", "Base, untuned", "Round 3", "93.1 %", "NL, round 2", "whole list 68.2 %"):
        assert words in text


def test_table_fits_eighty_columns():
    console = Console(record=True, width=80)
    print_results(metrics(), console)
    assert "…" not in (text := console.export_text())
    assert "88.6\u201393.4" in text


def test_columns_without_a_figure_are_left_out():
    assert rows(metrics(truth=False))[0] == ["Accuracy", "Lenient accuracy", "Gives a reason (EE)"]
    columns, body = rows(metrics())
    assert len(columns) == 6
    assert body[-1].cells[-1].value == ""
