"""The page of a run folder, and of a comparison."""

import json
from pathlib import Path

import pytest

from made_up_runs import compared, item, metrics, mistakes, picture, write_run
from read_page import Page
from seewhy.errors import SeeWhyError
from seewhy.report.page import write_page
from seewhy.results import Comparison
from seewhy.results_json import decode


@pytest.fixture
def image(tmp_path: Path) -> str:
    return picture(tmp_path / "bird.png")


def test_write_page_reads_the_run_folder(tmp_path: Path, image: str):
    run = write_run(tmp_path / "run", metrics(), [item(image, "Zennor Tanager")], confusion=mistakes())
    written = write_page(str(run))
    assert written == run / "report.html"
    assert "seed: 11" in written.read_text(encoding="utf-8")
    before = written.read_bytes()
    (run / "gallery.json").write_text("[{")
    with pytest.raises(SeeWhyError, match=r"gallery\.json could not be read"):
        write_page(str(run))
    assert written.read_bytes() == before
    assert not list(run.glob("*.partial"))


@pytest.mark.parametrize("missing", ["metrics.json", "gallery.json", "config.yaml"])
def test_write_page_names_the_missing_file(tmp_path: Path, missing: str):
    for name in {"metrics.json", "gallery.json", "config.yaml"} - {missing}:
        (tmp_path / name).write_text({"metrics.json": '{"base": {}}', "gallery.json": "[]"}.get(name, ""))
    with pytest.raises(SeeWhyError, match=rf"{missing}.*tart the run again"):
        write_page(str(tmp_path))


def test_the_page_of_a_comparison(tmp_path: Path, image: str):
    write_run(tmp_path / "seed-3", metrics(arms=True), [item(image, "Wren")], confusion=mistakes())
    (tmp_path / "comparison.json").write_text(json.dumps(compared()))
    page = Page(write_page(str(tmp_path)).read_text(encoding="utf-8"))
    assert (tmp_path / "report.html").exists()
    for words in ("report of a comparison", "92.1\u201394.1", "95 % interval over seeds and images",
                  "+20.0", "+18.0 to +22.0",
                  "seewhy compare config.yaml --seeds '[3, 4]'", "drawn from the run with seed 3"):  # fmt: skip
        assert words in page.text
    assert "one seed" not in page.text


def test_a_comparison_in_the_form_of_metrics():
    made = decode(Comparison, compared()).metrics
    assert made.base.split == "test"
    assert [figures.round for figures in made.arms["nl"]] == [1, 2, 3]
    assert made.arms["nl"][0]["accuracy"].interval == (0.73, 0.75)
