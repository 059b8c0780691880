"""Images of one class with other marks: who sees follows them, and who recites the class does not."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from marked_cells import make_wbcatt
from seewhy.cli import main
from seewhy.config import DataConfig, EvaluateConfig, ModelConfig, RunConfig
from seewhy.domain.marks_quiz import listed_features
from seewhy.proof.faithfulness import faithfulness
from seewhy.proof.interventions import of_same_class
from seewhy.report.figures import FIGURES
from seewhy.results import Verdict
from seewhy.run.finished import FinishedRun
from seewhy.run.folder import RunFolder
from seewhy.vlm.sampling import BatchSampler
from tiny import tiny_llava

IDS = ["a0", "a1", "a2", "b0"]
LABELS = ["a", "a", "a", "b"]


def of(*verdicts: Verdict) -> Callable[[str, int], Verdict]:
    return lambda _concept, place: verdicts[place]


def test_the_other_image_is_of_the_class_and_has_the_verdict() -> None:
    judge = of("true", "false", "true", "false")
    assert of_same_class(0, "large cell", "false", IDS, LABELS, judge) == 1
    assert of_same_class(0, "large cell", "true", IDS, LABELS, judge) == 2
    assert of_same_class(3, "large cell", "false", IDS, LABELS, judge) is None
    unmarked = of("true", "unverified", "hidden", "false")  # neither is known to be without the mark
    assert of_same_class(0, "large cell", "false", IDS, LABELS, unmarked) is None


def test_of_several_images_the_hash_decides() -> None:
    ids, labels = [f"a{i}" for i in range(40)], ["a"] * 40
    others: list[Verdict] = ["false"] * 39
    judge = of("true", *others)
    chosen = {concept: of_same_class(0, concept, "false", ids, labels, judge) for concept in map(str, range(20))}
    assert len(set(chosen.values())) > 10
    place = chosen["0"]
    assert place is not None
    moved = of_same_class(0, "0", "false", ids[:1] + ids[:0:-1], labels, judge)
    assert moved is not None
    assert (ids[:1] + ids[:0:-1])[moved] == ids[place]  # whatever the order


@pytest.fixture(scope="module")
def cells_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cells")
    config = RunConfig(
        output=str(root / "run"),
        rounds=1,
        data=DataConfig(source=str(make_wbcatt(root / "data")), layout="wbcatt", noun="white blood cell"),
        model=ModelConfig(name_or_path=str(tiny_llava(root / "base")), device="cpu", batch_size=32),
        evaluate=EvaluateConfig(max_new_tokens=6, bootstrap=50),
    )
    folder = RunFolder(config.output, seed=0, shard_size=4)
    with folder.lock():
        folder.check([], config=asdict(config))
    tiny_llava(folder.path / "stages" / "round-1" / "model" / "model", seed=1)
    return folder.path


def answering(monkeypatch: pytest.MonkeyPatch, run: Path, *, sees: str) -> None:
    """Let the model say the marks of an image, or the same of all images of a class."""
    domain = FinishedRun.open(run).domain
    labels = {e.id: e.label for e in domain.examples}

    def says(picture: str) -> tuple[str, ...]:
        example = next(name for name in labels if name in picture)
        assert domain.truth is not None
        return domain.truth[example].visible if sees == "marks" else domain.concepts[labels[example]]

    def sample(self, prompts, sampling, seed):
        return [[f"This is a cell: it has {listed_features(says(p.image))}."] for p in prompts]

    monkeypatch.setattr(BatchSampler, "sample", sample)
    monkeypatch.setattr("seewhy.proof.faithfulness.can_attribute", lambda *_given: "no attribution here")


@pytest.mark.parametrize(("sees", "follows", "other"), [("marks", 1.0, 1.0), ("class", 0.0, 0.0)])
def test_who_sees_follows_another_mark_of_the_class(
    cells_run: Path, monkeypatch: pytest.MonkeyPatch, sees: str, follows: float, other: float
) -> None:
    (cells_run / "faithfulness.json").unlink(missing_ok=True)
    answering(monkeypatch, cells_run, sees=sees)
    model = faithfulness(str(cells_run), images=24, reasons=1).models["rounds"]
    values = {name: figure.value for name, figure in model.figures.items()}
    assert values["same_class_follows"] == follows
    assert values["same_class_states_other"] == other
    assert values["same_class_follows_control"] == 0
    assert model.effects["same_class_follows_effect"].value == follows
    counts = model.counts["same_class_follows"][1]
    assert len(counts) == 24
    assert sum(counts) > sum(model.counts["same_class_states_other"][1]) > 24  # no vacuoles: nothing is there instead
    assert all(name in FIGURES for name in values)


def test_the_command_shows_it(
    cells_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, cells_run, sees="marks")
    assert main(["faithfulness", str(cells_run), "--images", "12", "--reasons", "1"]) == 0
    assert "same class's image without it: reason gone" in " ".join(capsys.readouterr().out.split())
    assert main(["faithfulness", str(cells_run), "--images", "12", "--reasons", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"]["rounds"]["figures"]["same_class_follows"] == 1
