"""An explanation as HTML, text and values: escaped, with its overlays and boxes; and training images by a reason."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from page_runs import guide_run
from seewhy.explanation.asking import MOST_TURNS, Asker, Question
from seewhy.explanation.explained import Explanation
from seewhy.explanation.near import Neighbours, similarities
from seewhy.records import Selection
from seewhy.report.pictures import heat_box
from seewhy.results import Explained, Reason
from seewhy.run.finished import FinishedRun
from seewhy.run.stages import BASE, StageKey
from seewhy.run.storage import encode_shard
from seewhy.vlm.embedding import embed_images

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def made_up(concept: str = "red crown", **changes: Any) -> Explanation:
    heat_RK = np.zeros((4, 8), np.float32)
    heat_RK[1, 2:4] = 1.0
    said = Explained(
        "photo.png", "Crow", 0.75, "This is a Crow.", (Reason(concept, 0.5, None),), {"Crow": 3, "": 1}, None
    )
    picture = Image.new("RGB", (80, 40), "teal")
    return Explanation(
        replace(said, **changes), "round 2", "What?", picture, {concept: heat_RK}, (0.0, 0.0, 80.0, 40.0)
    )


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_html_has_an_overlay_for_each_reason_and_loads_nothing():
    page = made_up()._repr_html_()
    tags = Tags(page).found
    radios = [of for tag, of in tags if tag == "input"]
    assert [of["type"] for of in radios] == ["radio", "radio"]
    assert len({of["name"] for of in radios}) == 1
    sources = [value for _, of in tags for name, value in of.items() if name in ("src", "href")]
    assert len(sources) == 2
    assert all(value and value.startswith("data:image/") for value in sources)
    assert "in 2 of 4, left" in page
    assert made_up()._repr_html_() != page, "two cards on a page do not switch one another"


@pytest.mark.parametrize("field", ["label", "answer", "no_overlay"])
def test_html_escapes_what_comes_from_data_and_models(field: str):
    tags = Tags(made_up(EVIL, **{field: EVIL}).html()).found
    assert not [tag for tag, of in tags if tag == "script" or "onerror" in of]
    assert len([tag for tag, _ in tags if tag == "img"]) == 1


def test_text_is_what_the_command_prints_and_values_have_boxes():
    explanation = made_up()
    assert "Crow  3 of 4 sampled answers agree" in str(explanation)
    assert "red crown  in 2 of 4" in str(explanation)
    values = explanation.as_values()
    assert list(values["reasons"]) == [
        {"concept": "red crown", "support": 0.5, "box": [20.0, 10.0, 40.0, 20.0], "where": "left"}
    ]
    assert values["size"] == {"width": 80, "height": 40}


def test_a_box_holds_the_patches_connected_to_the_peak():
    heat_RK = np.array([[0.6, 0, 0, 0], [0, 0, 0.5, 1], [0, 0, 0.4, 0]])
    assert heat_box(heat_RK, (0, 0, 40, 30)) == (20, 10, 40, 20)
    assert heat_box(heat_RK, (10, 0, 50, 30)) == (30, 10, 50, 20)
    assert heat_box(np.zeros((3, 4)), (0, 0, 40, 30)) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guide_run(tmp_path_factory.mktemp("explanation"), tokens=16)


def test_a_run_explains_an_image_in_memory_or_on_disk(run: Path):
    finished = FinishedRun.open(run)
    path = next((run / "fieldguide" / "images" / "test").rglob("*.png"))
    on_disk = finished.explain(path, round=1, samples=2)
    in_memory = finished.explain(Image.open(path), round=1, samples=2)
    assert on_disk.reasons == in_memory.reasons != ()
    assert on_disk.boxes == in_memory.boxes != {}
    assert (on_disk.model, finished.explain(path, base=True, samples=1).model) == ("round 1", "base")


def test_the_streamed_answer_is_the_sampled_one(run: Path):
    asker = Asker(FinishedRun.open(run), samples=1)
    for path in sorted((run / "fieldguide" / "images" / "test").rglob("*.png"))[:3]:
        question = Question(Image.open(path).convert("RGB"), "Describe the bird in this image.", BASE)
        texts = list(asker.stream(question))
        assert texts[-1] == asker.explain(question).answer
        assert all(texts[-1].startswith(text) for text in texts)
        assert len(texts) > 3


def test_a_conversation_changes_the_prompt_and_is_cut_where_it_is_too_long(run: Path):
    asker = Asker(FinishedRun.open(run), samples=1)
    picture = Image.new("RGB", (96, 96), "gray")
    once = Question(picture, "Describe the bird.", BASE, (("Which bird is this?", "It is a Crow."),))
    prompt = asker._asked(once).render(once.text, image=True)
    assert prompt.index("Which bird is this?") < prompt.index("It is a Crow.") < prompt.index("Describe the bird.")
    assert prompt.count("<image>") == 1
    often = replace(once, earlier=(*once.earlier * 400, ("Last?", "Yes.")))
    kept = asker._asked(often).earlier
    assert 0 < len(kept) <= MOST_TURNS
    assert kept[-1] == ("Last?", "Yes.")
    assert list(asker.stream(often))


def test_training_images_of_a_reason_are_those_of_which_it_was_selected(run: Path):
    finished = FinishedRun.open(run)
    names = [name for name, row in finished.examples.items() if row.split == "train"]
    chosen, other = names[:5], names[5:]
    records = [Selection(name, "red crown", float(n), True) for n, name in enumerate(chosen)]  # noqa: FBT003
    records += [Selection(name, "red crown", 9.0, False) for name in other]  # noqa: FBT003
    folder = run / "stages" / str(StageKey("select"))
    folder.mkdir()
    (folder / "shard-00000.parquet").write_bytes(encode_shard(records, Selection, {}))
    photo = Image.open(finished.image_folder / finished.examples[chosen[2]].image).convert("RGB")
    neighbours = Neighbours(Asker(finished))
    found = neighbours.of("red crown", photo, BASE, count=3)
    assert found[0].example_id == chosen[2]
    assert {one.example_id for one in found} <= set(chosen)
    assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
    assert neighbours.of("blue tail", photo, BASE) == []


def test_an_embedding_does_not_depend_on_the_batch(run: Path):
    vlm = FinishedRun.open(run).load(BASE)
    paths = sorted((run / "fieldguide" / "images" / "test").rglob("*.png"))[:3]
    pictures = [Image.open(path).convert("RGB") for path in paths]
    together_NE = embed_images(vlm, pictures)
    apart_NE = np.concatenate([embed_images(vlm, [picture], batch_size=1) for picture in pictures])
    np.testing.assert_allclose(together_NE, apart_NE, atol=1e-4)
    assert similarities(together_NE[0], together_NE).argmax() == 0
