"""The page in a real headless Chromium: it runs offline, filters, shows heats, and fits a phone."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from browser import Browser, Tab, find
from made_up_later import benchmarks, faithfulness_file, general_file, judge_file
from made_up_runs import EVIL, html, item, metrics, mistakes, pair, picture, write_run
from seewhy.proof.heatmaps import Heat
from seewhy.report.evidence import find_later
from seewhy.report.page import Extras

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find() is None, reason="no chromium on the path; set CHROMIUM to one"),
]

SHOWN = "[...document.querySelectorAll('.card')].filter(c => !c.hidden).map(c => c.querySelector('h3').textContent)"
ANSWERS = "[...document.querySelectorAll('.answer')].filter(a => a.offsetParent).map(a => a.dataset.model)"
LAYERS = "[...document.querySelectorAll('.layer')].map(l => Number(getComputedStyle(l).opacity))"
LONG = "Unbreakable" * 8


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of four images: right and wrong, with true, hidden and false reasons, and names that are not kind; and
    with all that later commands add."""
    folder = tmp_path_factory.mktemp("page")
    images = [picture(folder / f"{n}.png", (600, 400)) for n in range(4)]
    gallery = [
        item(images[0], "Ivo Wren", verdicts=("true", "true", "true")),
        item(images[1], "Sorrel Wren", correct=False),
        item(images[2], EVIL, reasons=0),
        item(images[3], LONG, verdicts=("true", "hidden", "true")),
    ]
    heat_RK = np.zeros((4, 4), np.uint8)
    heat_RK[1, 2] = 255
    concepts = {"red crown": heat_RK, "long pointed tail": heat_RK.T.copy()}
    heats = {image: Heat((600, 400), (0.0, 0.0, 600.0, 400.0), concepts) for image in images}
    wrong = mistakes(pair(images[1], "Sorrel Wren", LONG), pair(images[2], EVIL, EVIL))
    models = {f"{model}-{LONG}": of for model, of in general_file()["models"].items()}
    files = {"faithfulness": faithfulness_file(), "general": {**general_file(models=models), **benchmarks()}}
    versions = {"versions": {"seewhy": "0.1.0", "torch": "2.13.0"}}
    later = find_later(write_run(folder / LONG, {}, [], **files, judge=judge_file()))
    extras = Extras(heats=heats, manifest=versions, later=later)
    page = folder / "report.html"
    config = f"output: runs/{LONG}\nsource: {'x' * 300}\n"
    text = html(metrics(arms=True), gallery, confusion=wrong, title=EVIL, config=config, extras=extras)
    page.write_text(text, encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(str(find())) as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Tab:
    return browser.tab()


def choose(tab: Tab, **wanted: str) -> None:
    """Reset the filters, then choose."""
    tab.evaluate(
        "document.querySelector('#filters button[type=reset]').click(); new Promise(done => setTimeout(done, 20))"
    )
    for name, value in wanted.items():
        tab.evaluate(
            f"(s => {{ s.value = {value!r}; s.dispatchEvent(new Event('change', {{bubbles: true}})); }})"
            f"(document.querySelector('#filters [name={name}]'))"
        )


def test_no_complaint_and_no_request_but_for_itself(tab: Tab, path: Path):
    tab.open(path)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.complaints == []
    assert tab.requests == [path.absolute().as_uri()]
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert tab.evaluate("document.title").endswith("SeeWhy")
    assert tab.evaluate("document.scripts.length") == 1


def test_what_the_page_does_not_hold_may_not_run_or_load(tab: Tab, path: Path):
    tab.open(path)
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=https://example.org/x.png>')")
    tab.evaluate(
        "(s => { s.textContent = 'window.ran = true'; document.body.append(s); })(document.createElement('script'))"
    )
    tab.evaluate("new Promise(done => setTimeout(done, 50))")
    assert tab.evaluate("window.ran") is None
    assert sum("Content Security Policy" in line for line in tab.complaints) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["Ivo Wren", "Sorrel Wren", EVIL, LONG]),
        ({"label": "Sorrel Wren"}, ["Sorrel Wren"]),
        ({"correct": "wrong"}, ["Sorrel Wren"]),
        ({"correct": "right"}, ["Ivo Wren", EVIL, LONG]),
        ({"reasons": "false"}, ["Sorrel Wren"]),
        ({"reasons": "hidden"}, ["Sorrel Wren", LONG]),
        ({"reasons": "all true"}, ["Ivo Wren"]),
        ({"reasons": "none"}, [EVIL]),
        ({"model": "round 1", "reasons": "none"}, ["Ivo Wren", "Sorrel Wren", EVIL, LONG]),
        ({"model": "round 1", "correct": "right"}, []),
        ({"model": "nl/round 3", "correct": "right", "label": "Ivo Wren"}, ["Ivo Wren"]),
    ],
)
def test_filters(tab: Tab, path: Path, wanted: dict[str, str], expected: list[str]):
    if not tab.events["Page.loadEventFired"]:
        tab.open(path)
    choose(tab, **wanted)
    assert tab.evaluate(SHOWN) == expected
    count = f"All {len(expected)} images" if len(expected) == 4 else f"{len(expected)} of 4 images"
    assert tab.evaluate("document.querySelector('#filters output').textContent") == count
    assert set(tab.evaluate(ANSWERS)) == ({wanted.get("model", "round 3")} if expected else set())


def test_every_answer_shows_where_all_models_are_chosen_and_where_no_script_runs(tab: Tab, path: Path):
    tab.open(path)
    choose(tab, model="")
    assert tab.evaluate(ANSWERS) == 4 * ["round 3", "round 1", "base", "nl/round 3"]
    tab.open(path, scripts=False)
    try:
        assert tab.evaluate("document.querySelector('#filters').offsetParent") is None
        assert tab.evaluate("document.querySelectorAll('.card:not([hidden])').length") == 4
        assert len(tab.evaluate(ANSWERS)) == 16
    finally:
        tab.open(path)


def test_a_reason_shows_its_heat_on_hover_on_a_tap_and_by_keyboard(tab: Tab, path: Path):
    tab.open(path)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    first, second = "document.querySelectorAll('button.reason')[0]", "document.querySelectorAll('button.reason')[1]"
    assert set(tab.evaluate(LAYERS)) == {0}

    def middle(button: str) -> tuple[float, float]:
        tab.evaluate(f"{button}.scrollIntoView({{block: 'center'}})")
        box = tab.evaluate(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({button}.getBoundingClientRect())")
        return box[0], box[1]

    tab.point(*middle(first))
    assert tab.evaluate(LAYERS)[:2] == [1, 0]
    tab.point(*middle(first), click=True)
    tab.point(*middle(second))
    assert tab.evaluate(LAYERS)[:2] == [0, 1]
    tab.point(2, 2)
    assert tab.evaluate(LAYERS)[:2] == [1, 0]
    assert tab.evaluate(f"{first}.getAttribute('aria-pressed')") == "true"
    tab.press("Escape")
    assert tab.evaluate(f"{first}.getAttribute('aria-pressed')") == "false"
    tab.press("Tab")
    assert tab.evaluate(f"document.activeElement === {second}")
    assert tab.evaluate(LAYERS)[:2] == [0, 1]
    covers = "(b => { const p = b.closest('.card').querySelector('.photo').getBoundingClientRect(),"
    covers += " l = b.querySelector('.layer').getBoundingClientRect();"
    covers += f" return [p.x - l.x, p.y - l.y, p.width - l.width, p.height - l.height] }})({second})"
    assert np.abs(tab.evaluate(covers)).max() < 1


@pytest.mark.parametrize("width", [360, 768, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(browser: Browser, path: Path, width: int, scheme: str):
    tab = browser.tab(width=width, dark=scheme == "dark")
    tab.open(path)
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('main *, header *')]"
    cut += ".filter(e => !e.closest('.unseen, pre, svg, .skip, .scroll > *')"
    cut += " && getComputedStyle(e).position !== 'absolute' && e.getBoundingClientRect().right > innerWidth + 1)"
    assert tab.evaluate(f"{cut}.map(e => e.outerHTML.slice(0, 80))") == []
    boxes = tab.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth > e.clientWidth)")
    assert len(boxes) == 4
    assert any(boxes)  # wide tables scroll in a box of their own
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")


def test_what_can_be_used_can_be_told(tab: Tab, path: Path):
    """Controls, images and curves have names for screen readers, and headings follow one another."""
    tab.open(path)
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"combobox", "button", "link", "image", "img", "form", "navigation", "region", "table"}
    heard = [node for node in nodes if not node["ignored"] and node["role"]["value"].lower() in roles]
    named = {node["role"]["value"].lower() for node in heard if node.get("name", {}).get("value")}
    assert {"combobox", "button", "link", "image", "form", "navigation"} <= named
    assert [node["role"] for node in heard if not node.get("name", {}).get("value")] == []
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
