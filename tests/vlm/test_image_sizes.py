"""What a processor refuses is found before a run, and named by its file."""

import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from PIL import Image

from families import FAMILIES, no_torchvision, tiny_qwen25_vl
from seewhy.cli import main
from seewhy.config import AugmentConfig, RunConfig
from seewhy.cost.estimate import plan_run
from seewhy.cost.tokens import Assumed
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling, Turn
from seewhy.run import loop
from seewhy.vlm.chat import ImageRefused, processing, refused_sizes
from seewhy.vlm.data import Schedule
from seewhy.vlm.loss import answer_likelihoods
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from tiny_run import tiny_run


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with no_torchvision():
        yield tiny_qwen25_vl(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def vlm(qwen: Path) -> VisionLanguageModel:
    return VisionLanguageModel.load(qwen, device="cpu")


def sizes(count: int) -> set[tuple[int, int]]:
    """Ordinary sizes, strips both ways, and specks."""
    rng = random.Random(0)
    ordinary = {(rng.randint(100, 900), rng.randint(100, 900)) for _ in range(count)}
    strips = {(2048, 10), (2048, 7), (9, 2048), (1000, 3), (3, 1000), (1, 1), (2, 2), (1, 300), (201, 1), (200, 1)}
    return ordinary | strips


def refuses(vlm: VisionLanguageModel, size: tuple[int, int]) -> bool:
    image = Image.new("RGB", size)
    try:
        with processing(vlm, image):
            vlm.tokenise(vlm.render("?", image=True), image)
    except ImageRefused:
        return True
    return False


def test_all_that_is_refused_is_found_with_few_trials(
    vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {size for size in sizes(60) if refuses(vlm, size)}
    assert expected >= {(2048, 10), (9, 2048), (1, 300)}
    tried = []
    tokenise = VisionLanguageModel.tokenise

    def counted(self: VisionLanguageModel, prompt: str, image: Image.Image) -> object:
        tried.append(image.size)
        return tokenise(self, prompt, image)

    monkeypatch.setattr(VisionLanguageModel, "tokenise", counted)
    found = refused_sizes(vlm, sizes(60))
    assert set(found) == expected
    assert all("aspect ratio must be smaller than 200" in reason for reason in found.values())
    assert len(tried) <= len(expected) + 4
    assert refused_sizes(vlm, set()) == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_family_takes_is_not_refused(family: str, tmp_path: Path) -> None:
    with no_torchvision():
        vlm = VisionLanguageModel.load(FAMILIES[family](tmp_path / "model"), device="cpu")
        found = refused_sizes(vlm, sizes(4))
        assert set(found) == {size for size in sizes(4) if refuses(vlm, size)}


def test_the_file_is_named_where_it_is_sampled_and_tuned_on(vlm: VisionLanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "strip.png"
    Image.new("RGB", (1000, 3)).save(path)
    message = r"Image .*strip\.png: The processor of model .* takes no image of 1000 x 3 pixels \(absolute aspect ratio"
    with pytest.raises(SeeWhyError, match=message):
        BatchSampler(vlm, 2).sample([Prompt("1", str(path), "What?")], Sampling(max_new_tokens=2), seed=0)
    turns = [Turn("1", str(path), "What?", "A crow.")]
    with pytest.raises(SeeWhyError, match=message):
        Schedule(vlm, turns, pairs=1, epochs=1, changes=AugmentConfig(), seed=0).rows(turns, None)
    with pytest.raises(SeeWhyError, match=message):
        answer_likelihoods(vlm, turns, 1)


@pytest.fixture
def config(qwen: Path, tmp_path: Path) -> RunConfig:
    """A data set with a strip in val, on a tiny Qwen2.5-VL."""
    config = tiny_run(tmp_path, train=2, test=1, val=1, tokens=4, base=str(qwen))
    Image.effect_noise((3000, 12), 90).save(tmp_path / "images/val/Crow/strip.png")
    return config


SAID = "val/Crow/strip.png: 2048 x 8 pixels as it is read (absolute aspect ratio must be smaller than 200, got 256.0)"


def test_a_run_stops_before_it_describes(config: RunConfig) -> None:
    with pytest.raises(SeeWhyError) as error:
        loop.run(config)
    assert SAID in str(error.value)
    assert "crop it, pad it to another shape, or remove it" in str(error.value)
    assert not list(Path(config.output).glob("stages/describe/*.parquet"))


def test_a_plan_names_it(config: RunConfig) -> None:
    with pytest.raises(SeeWhyError) as error:
        plan_run(config, None, Assumed())
    assert SAID in str(error.value)


def test_data_check_names_it(config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": {k: v for k, v in asdict(config.data).items() if isinstance(v, str)}}))
    with path.open("a") as file:
        file.write(f"model: {{name_or_path: {config.model.name_or_path}}}\n")
    assert main(["data", "check", str(path)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "error: images of a size that the model's processor refuses (1)" in shown
    assert SAID in shown
    Path(config.data.source, "val/Crow/strip.png").unlink()
    path.write_text(path.read_text().replace(config.model.name_or_path, str(tmp_path / "no-model")))
    assert main(["data", "check", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "note: sizes were not held against the model's processor: There is no model folder" in shown
