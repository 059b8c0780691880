"""The page's sections of `seewhy faithfulness`, `seewhy general` and `seewhy judge`, on made-up files."""

import json
from pathlib import Path
from typing import Any

import pytest

from made_up_later import TESTS, benchmarks, faithfulness_file, general_file, judge_file, of_model, trial
from made_up_runs import EVIL, compared, metrics, write_run
from read_page import Page
from seewhy.cli import main
from seewhy.cli.verbs import renew_page
from seewhy.fieldguide.guide import draw_example
from seewhy.fieldguide.redraw import other_values
from seewhy.fieldguide.world import BIRD, make_species
from seewhy.proof import ability, faithfulness
from seewhy.report.evidence import FATES, examples, find_later
from seewhy.report.figures import FIGURES
from seewhy.report.page import write_page
from seewhy.results import Ability, Faithfulness, Trial
from seewhy.results_json import decode

TITLES = {
    "faithfulness": "Do the reasons hang on the image?",
    "general": "What was forgotten?",
    "judge": "What a language model says as judge",
}
FILES = {"faithfulness": faithfulness_file(), "general": general_file(), "judge": judge_file()}


def page_of(run: Path, **files: Any) -> Page:
    """The page of a run with these files beside its own."""
    return Page(write_page(str(write_run(run, metrics(), [], **files))).read_text(encoding="utf-8"))


def cells(page: Page, words: str) -> str:
    """The text of the page from these words on, or from the title of the figure of this name."""
    words = FIGURES[words].title if words in FIGURES else words
    return page.text[page.text.index(words) :][:160]


def test_each_model_stands_beside_its_controls(tmp_path: Path):
    page = page_of(tmp_path, faithfulness=faithfulness_file())
    first = FIGURES["counterfactual_changes"].title
    assert f"Round 3 L+GE, round 3 {first} ↑ , higher is better" in page.text
    for key, figures in {
        "counterfactual_changes": "8 reasons 87.5 % 28.4\u2013100 75.0 %",
        "counterfactual_changes_control": "8 reasons 12.5 %",
        "survives_hidden": "8 reasons 25.0 %",
        "survives_covered_elsewhere": "8 reasons 87.5 %",
        "cover_gone": "8 reasons 75.0 %",
        "cover_gone_random": "8 reasons 12.5 %",
        "swap_reason_changes": "24 reasons 83.3 %",
        "pointing": "24 reasons 83.3 %",
        "pointing_chance": "24 reasons 7.3 %",
    }.items():
        assert figures in cells(page, key)
        assert (f"control: {FIGURES[key].title}" in page.text) == FIGURES[key].control
    assert "4 test images, spread over the classes, up to 2 reasons of each" in page.text
    assert "the results above are on" not in page.text


def test_tables_are_told_to_screen_readers_and_scroll_in_a_box_of_their_own(tmp_path: Path):
    page = page_of(
        tmp_path, faithfulness=faithfulness_file(), general={**general_file(), **benchmarks()}, judge=judge_file()
    )
    boxes = page.of("div", class_="scroll")
    captions = [attrs["id"] for attrs in page.of("caption") if attrs.get("id")]
    assert [box["aria-labelledby"] for box in boxes] == captions
    assert len(captions) == len(page.of("table", class_="figures")) == 4
    assert all((box["role"], box["tabindex"]) == ("region", "0") for box in boxes)
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.of("th"))
    assert {"#tested", "#forgotten", "#judged"} <= {attrs["href"] for attrs in page.of("a")}


def test_examples_are_one_of_each_fate_whatever_their_order(tmp_path: Path):
    log = faithfulness_file()["models"]["rounds"]["tests"]
    log.append(trial("follows", 9, hidden="It has a red crown."))
    shown = examples([Trial(**test) for test in log])
    assert [kind for kind, _ in shown] == ["follows", "survives", "hidden", "silent"]
    assert len({(test.example, test.reason) for _, test in shown}) == 4
    assert dict(shown)["hidden"].example == "test/Ivo Wren/009"
    assert examples([Trial(**test) for test in reversed(log)]) == shown
    page = page_of(tmp_path, faithfulness=faithfulness_file())
    assert "2 state the new value" in page.text
    assert "2 say nothing of the part, 1 state a third value, 1 still state the old value" in page.text
    assert f"✗ {FATES['survives']}" in page.text
    assert [len(page.of("li", class_=kind)) for kind in ("right", "wrong", "open")] == [1, 1, 2]
    assert len(page.of("mark")) == 4 * 2 + 2 + 2 + 2  # words: the reason before; the new one, the old one, a third
    assert not page.of("img")


@pytest.mark.parametrize("same", [True, False])
def test_an_example_shows_the_drawing_that_was_tested_and_no_other(tmp_path: Path, *, same: bool):
    bird = make_species()[0]
    look, drawing = draw_example(bird, "test", 0)
    attribute = next(a for a in BIRD if other_values(a, look[a.name]))
    old, new = (
        attribute.values[v][0] for v in (look[attribute.name], other_values(attribute, look[attribute.name])[0])
    )
    test = trial("follows", 0, bird.name, reason=old, new=new, answer=f"It has {old}.", changed=f"It has {new}.")
    found = faithfulness_file()
    found["models"]["rounds"]["tests"] = [test]
    place = tmp_path / "fieldguide" / "images" / "test" / bird.name
    place.mkdir(parents=True)
    (drawing.image if same else drawing.image.rotate(180)).save(place / "000.png")
    page = page_of(tmp_path, faithfulness=found)
    assert [attrs["alt"] for attrs in page.of("img")] == (
        [f"test/{bird.name}/000 as it is", f"test/{bird.name}/000 as it was changed"] if same else []
    )
    assert f"{old} → {new}" in page.text


def test_abilities_stand_with_the_base_first_and_say_what_is_lost(tmp_path: Path):
    page = page_of(tmp_path, general=general_file())
    assert f"Ability Untuned Round 1 Round 3 L+GE, round 3 {FIGURES['attribute_accuracy'].title}" in page.text
    assert "36 questions" in cells(page, "attribute_accuracy")
    lost = "100.0 % 73.5\u2013100 100.0 % 73.5\u2013100 ▼ 11.1 % , below the untuned model"
    assert lost in cells(page, "attribute_accuracy")
    assert "▼" not in cells(page, "yes_no_accuracy_produce")[:110]
    assert "12 drawings of birds and as many of produce, test split" in page.text
    assert "\u201cnames a visible attribute, birds\u201d fell from 100.0 % to 11.1 %." in page.text
    assert "Of the reasons tested" not in page.text


@pytest.mark.parametrize("alone", [True, False])
def test_benchmarks_stand_with_their_change(tmp_path: Path, *, alone: bool):
    page = page_of(tmp_path, general=benchmarks() if alone else {**general_file(), **benchmarks()})
    assert "mmmu_val/acc 0.412 0.4 \u22120.012 (\u22120.05 to +0.026) mme/score 1499 1380 \u2212119" in page.text
    assert ("Names a visible attribute" in page.text) == (not alone)


def test_reasons_that_cling_are_doubted(tmp_path: Path):
    told = page_of(tmp_path, faithfulness=faithfulness_file()).text
    assert "Of the reasons tested, 25.0 % are still stated" in told
    sees = TESTS | {"survives_hidden": ([0], [2]), "counterfactual_changes": ([2], [2])}
    assert "Of the reasons tested" not in page_of(tmp_path, faithfulness=faithfulness_file(sees)).text
    recites = sees | {"same_class_follows": ([2, 1, 1, 1], [2, 2, 2, 2])}
    told = page_of(tmp_path, faithfulness=faithfulness_file(recites)).text
    assert "37.5 % are still stated with an image of the same class that does not show them" in told


def test_the_judge_stands_beside_the_figures_without_one(tmp_path: Path):
    page = page_of(tmp_path, judge=judge_file())
    assert "judge-1 was asked of each answer" in page.text
    ours = "470 10 93.0 % 91.0\u201395.0 99.8 % 99.0\u2013100 97.3 % 0.61 71.0 % 68.0\u201374.0 88.4 % \u22120.25"
    assert ours in cells(page, "Round 3 470")
    assert "480 0 \u2013 unknown 50.0 % unknown \u2013 unknown unknown" in cells(page, "Untuned 480")
    assert "Without a verdict: Round 3: timed out (7), refused (3)." in page.text
    assert "480 test images drawn from 960" in page.text


def test_what_was_not_measured_has_no_section(tmp_path: Path):
    text = page_of(tmp_path).text
    assert not [title for title in TITLES.values() if title in text]


def test_another_split_is_shown_and_said(tmp_path: Path):
    page = page_of(tmp_path, faithfulness=faithfulness_file(split="val"))
    assert "4 val images" in page.text
    assert "the results above are on test images" in page.text


def without(value: dict[str, Any], *path: str) -> dict[str, Any]:
    """A copy of a value that lacks one key."""
    copy = json.loads(json.dumps(value))
    within = copy
    for key in path[:-1]:
        within = within[key]
    del within[path[-1]]
    return copy


DAMAGED: dict[str, tuple[str, Any, str]] = {
    "no JSON": ("faithfulness", "{", "Expecting"),
    "a list": ("faithfulness", [1], "stands where names and values should"),
    "an older version": ("faithfulness", without(faithfulness_file(), "models", "lge", "counts"), "counts' is"),
    "no models": ("faithfulness", without(faithfulness_file(), "models"), "'models' is missing"),
    "models that are none": ("faithfulness", faithfulness_file(models=3), "'3' stands where names and values should"),
    "no split": ("faithfulness", without(faithfulness_file(), "split"), "'split' is missing"),
    "a text for a number": ("faithfulness", faithfulness_file(images="many"), "'many' stands where a number should"),
    "a test without its answer": (
        "faithfulness",
        faithfulness_file(models={"rounds": of_model(TESTS, model="round-3", notes=[], tests=[{"example": "a"}])}),
        "reason' is missing",
    ),
    "nothing": ("general", {}, "'models' is missing"),
    "not a number": ("general", general_file(models={"base": {"figures": {"x": float("nan")}, "counts": {}}}), "'nan'"),
    "counts that are no pair": ("general", general_file(models={"a": {"figures": {}, "counts": {"x": [1]}}}), "values"),
    "scores that are none": ("general", {"lmms_eval": {"models": {"base": {"scores": [1]}}}}, "stands where names"),
    "another judge": ("judge", without(judge_file(), "agreement"), "'agreement' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_cannot_be_read_is_told_and_the_rest_of_the_page_stands(tmp_path: Path, case: str):
    verb, value, why = DAMAGED[case]
    write_run(tmp_path, metrics(), [])
    (tmp_path / f"{verb}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    text = page_of(tmp_path).text
    told = cells(Page((tmp_path / "report.html").read_text(encoding="utf-8")), TITLES[verb])
    assert f"{verb}.json could not be read" in text
    assert TITLES[verb] in told
    assert why in text
    assert f"remove it and give `seewhy {verb}" in text
    assert "Figures of each model" in text
    assert "How it was computed" in text


def test_everything_from_the_files_is_escaped(tmp_path: Path):
    evil = trial("follows", 0) | dict.fromkeys(("example", "new", "answer", "changed", "hidden"), EVIL)
    other = trial("survives", 1) | {"reason": EVIL}
    tests = faithfulness_file(split=EVIL)
    tests["models"]["rounds"] |= {"model": EVIL, "tests": [evil, other], "notes": [EVIL]}
    scores = {"lmms_eval": {"models": {EVIL: {"scores": {EVIL: 1.0}}}}}
    asked = general_file(split=EVIL, models={EVIL: general_file()["models"]["base"]})
    said = judge_file(
        judge={"model": EVIL}, split=EVIL, models={EVIL: judge_file()["models"]["round-3"] | {"missing": {EVIL: 1}}}
    )
    page = page_of(tmp_path, faithfulness=tests, general={**asked, **scores}, judge=said)
    assert page.text.count(EVIL) >= 10
    assert not page.of("script")
    assert not page.of("img")
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]


def two_seeds(folder: Path, *of_each: dict[str, Any]) -> Page:
    """The page of a comparison whose seeds have these files."""
    for seed, files in zip((3, 4), of_each, strict=True):
        write_run(folder / f"seed-{seed}", metrics(), [], **files)
    (folder / "comparison.json").write_text(json.dumps(compared()))
    return Page(write_page(str(folder)).read_text(encoding="utf-8"))


def test_a_comparison_shows_the_means_of_its_seeds(tmp_path: Path):
    other = faithfulness_file(
        TESTS | {"counterfactual_changes": ([2, 1, 1, 1], [2, 2, 2, 2]), "cover_gone": ([0], [0])}
    )
    first = {"faithfulness": faithfulness_file(), "general": {**general_file(), **benchmarks()}, "judge": judge_file()}
    page = two_seeds(tmp_path, first, {**first, "faithfulness": other})
    assert "16 reasons 75.0 %" in cells(page, "counterfactual_changes")
    assert FIGURES["cover_gone"].title not in page.text  # of one seed alone
    assert "72 questions 100.0 %" in cells(page, "attribute_accuracy")
    assert "0.4 \u22120.012 (\u22120.05 to +0.026)" in page.text
    assert page.text.count("means over 2 seeds") == 2
    assert "Some seeds were not measured" not in page.text
    assert "(seed-3)" in page.text
    assert TITLES["judge"] not in page.text


def test_a_comparison_says_which_seed_is_missing(tmp_path: Path):
    page = two_seeds(tmp_path, {}, {"faithfulness": faithfulness_file()})
    assert "means over 1 seed," in page.text
    assert f"seewhy faithfulness {tmp_path / 'seed-3'}" in page.text
    assert TITLES["general"] not in page.text


@pytest.mark.parametrize(
    ("verb", "other"), [("faithfulness", faithfulness_file(images=5)), ("general", general_file(split="val"))]
)  # fmt: skip
def test_seeds_that_were_measured_in_different_ways_are_not_averaged(tmp_path: Path, verb: str, other: dict[str, Any]):
    page = two_seeds(tmp_path, {verb: FILES[verb]}, {verb: other})
    assert "cannot be averaged" in page.text
    assert not page.of("table", class_="figures")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("verb", "module", "kind"), [("faithfulness", faithfulness, Faithfulness), ("general", ability, Ability)]
)
def test_a_verb_that_measures_writes_the_page_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, module: Any,
    kind: type, *,
    as_json: bool,
):  # fmt: skip
    two_seeds(tmp_path, {}, {})
    run = tmp_path / "seed-4"

    def measured(folder: str, **_options: Any) -> dict[str, Any]:
        (run / f"{verb}.json").write_text(json.dumps(FILES[verb]))
        return decode(kind, FILES[verb])

    monkeypatch.setattr(module, verb, measured)
    assert main([verb, str(run), *["--json"] * as_json]) == 0
    told = capsys.readouterr()
    for folder in (run, tmp_path):
        assert f"Wrote {folder / 'report.html'}" in told.err.replace("\n", "")
        assert TITLES[verb] in (folder / "report.html").read_text(encoding="utf-8")
    if as_json:
        assert json.loads(told.out)["images"] == FILES[verb]["images"]


def test_a_run_that_cannot_have_a_page_is_told_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    renew_page(str(tmp_path))
    assert "has no page of it yet" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_read_where_there_is_nothing(tmp_path: Path):
    assert find_later(tmp_path).tested.values is None
