import hashlib
import math
import multiprocessing
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import get_scheduler

import tune_once
from seewhy.config import AugmentConfig, TuneConfig
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling, Turn
from seewhy.vlm import tuning
from seewhy.vlm.adapter import add_adapter, merge_adapter
from seewhy.vlm.chat import IGNORED
from seewhy.vlm.loss import answer_loss, answers_of
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.tuning import Checkpoints, _arguments, _CheckpointedTrainer, _made_of, tune
from tiny import tiny_llava

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["seewhy.vlm.tuning"])  # imported once for all of them
PLAIN = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)
CONFIG = TuneConfig(
    epochs=1, learning_rate=1e-2, batch_size=4, micro_batch_size=4, lora_rank=4, lora_alpha=8, augment=PLAIN
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("base"))


@pytest.fixture
def vlm(base: Path) -> VisionLanguageModel:
    return VisionLanguageModel.load(base, device="cpu")


def picture(path: Path, colour: str) -> str:
    Image.new("RGB", (40, 40), colour).save(path)
    return str(path)


def tune_in_process(
    base: Path, out: Path, step: int = 0, place: str = "never", change: dict[str, Any] | None = None
) -> int:
    """Exit code of a process that tunes, with settings changed: 0, or -9 where it was killed."""
    process = PROCESSES.Process(target=tune_once.tune_once, args=(base, out, step, place, change or {}))
    process.start()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def uninterrupted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert tune_in_process(base, folder) == 0
    found = digests(folder)
    assert {"adapter/adapter_model.safetensors", "model/model.safetensors"} <= set(found)
    assert not (folder / "checkpoints").exists()
    return found


@pytest.mark.parametrize(
    "deaths",
    [
        [(1, "step")],  # before the first checkpoint
        [(3, "step"), (5, "step")],  # between checkpoints, twice
        [(2, "checkpoint"), (4, "checkpoint")],  # while one is written: the first, and one beside an older
        [(0, "adapter"), (0, "model")],  # with the result half written
    ],
)
def test_killed_and_started_again_gives_the_same_bytes(
    base: Path, tmp_path: Path, uninterrupted: dict[str, str], deaths: list[tuple[int, str]]
):
    for step, place in deaths:
        assert tune_in_process(base, tmp_path, step, place) == -9
        assert (tmp_path / "checkpoints").is_dir()
    assert tune_in_process(base, tmp_path) == 0
    assert digests(tmp_path) == uninterrupted


def test_learns_what_each_image_is_called(vlm: VisionLanguageModel, tmp_path: Path):
    images = {"red": picture(tmp_path / "red.png", "red"), "blue": picture(tmp_path / "blue.png", "blue")}
    turns = [
        Turn(f"{name}{n}", picture(tmp_path / f"{name}{n // 2}.png", name), "Name it.", f"{name}.")
        for name in images
        for n in range(32)
    ]
    prompts = [Prompt(name, path, "Name it.") for name, path in images.items()]
    config = replace(CONFIG, epochs=12, batch_size=8, micro_batch_size=8, lora_dropout=0.0)
    model = tune(vlm, turns, config, tmp_path / "out", seed=0)
    tuned = BatchSampler(VisionLanguageModel.load(model, device="cpu"), 4)
    assert tuned.sample(prompts, Sampling(max_new_tokens=16), 0) == [["red."], ["blue."]]


def test_a_loss_of_answers_is_divided_by_those_of_all_micro_batches():
    trainer, no = Mock(spec=_CheckpointedTrainer, loss_per="answer", args=Mock(world_size=1)), IGNORED
    labels = [[[no, 5, 5, no, 5], [no, no, 5, 5, 5]], [[no, 5, 5, 5]]]
    batches = [{"labels": torch.tensor(rows)} for rows in labels]
    assert int(_CheckpointedTrainer._get_num_items_in_batch(trainer, batches, torch.device("cpu")) or 0) == 4


def five_turns_each(folder: Path) -> list[Turn]:
    """Three images with five turns each."""
    return [
        Turn(f"{name}/{n}", picture(folder / f"{name}.png", name), f"Name it {n}.", f"{name} {'it is ' * n}.")
        for name in ("red", "blue", "green")
        for n in range(5)
    ]


@pytest.mark.parametrize(("share_image", "micro"), [(True, 4), (False, 4), (True, 8)])
def test_steps_have_as_many_pairs_as_asked_for(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share_image: bool,  # noqa: FBT001
    micro: int,
):
    """Fifteen pairs, eight a step, eight or four at a time: 8 + 7 in each epoch, each loss divided by its step's."""
    seen = []

    def counted(model: Any, batch: Any, total: Any = None, **kwargs: Any) -> torch.Tensor:
        seen.append((len(answers_of(batch["labels"])[1]), int(total)))
        return answer_loss(model, batch, total, **kwargs)

    monkeypatch.setattr(tuning, "answer_loss", counted)
    config = replace(CONFIG, epochs=2, batch_size=8, micro_batch_size=micro, loss_per="answer")
    vlm = VisionLanguageModel.load(base, device="cpu")
    tune(vlm, five_turns_each(tmp_path), config, tmp_path / "out", seed=0, share_image=share_image)
    assert all(pairs <= micro for pairs, _ in seen)
    steps: list[int] = []
    while seen:
        total = seen[0][1]
        step = []
        while sum(step) < total:
            pairs, same = seen.pop(0)
            assert same == total
            step.append(pairs)
        steps.append(sum(step))
    assert steps == [8, 7, 8, 7]


@pytest.mark.parametrize(("schedule", "half_way"), [("cosine", 0.5), ("linear", 0.5)])
def test_the_rate_falls_as_the_schedule_says(schedule: Any, half_way: float):
    """Of 100 steps and no warm-up: equal in the middle, apart after a quarter."""
    config = replace(CONFIG, schedule=schedule, warmup=0.0)
    arguments = _arguments(torch.device("cpu"), torch.float32, config, 100, Path("unused"), 0)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    falling = get_scheduler(arguments.lr_scheduler_type, optimizer, int(arguments.warmup_steps), 100)
    rates = []
    for _ in range(100):
        rates.append(falling.get_last_lr()[0])
        optimizer.step()
        falling.step()
    assert rates[0] == 1
    assert rates[50] == pytest.approx(half_way)
    assert rates[25] == pytest.approx(0.75 if schedule == "linear" else (1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("loss_per", ["token", "answer"])
def test_a_smaller_micro_batch_gives_the_same_model(base: Path, tmp_path: Path, loss_per: Any):
    weights = []
    for micro in (8, 4, 1):
        config = replace(
            CONFIG,
            epochs=2,
            batch_size=8,
            micro_batch_size=micro,
            lora_dropout=0.0,
            loss_per=loss_per,
            learning_rate=1e-3,
        )
        vlm = VisionLanguageModel.load(base, device="cpu")
        tune(vlm, five_turns_each(tmp_path), config, tmp_path / f"{micro}", seed=0)
        weights.append(load_file(tmp_path / f"{micro}/model/model.safetensors"))
    before = load_file(base / "model.safetensors")
    for name, whole in weights[0].items():
        if name in before and torch.equal(whole, before[name]):
            continue
        for other in weights[1:]:
            change = (whole - before.get(name, torch.zeros_like(whole))).norm()
            assert (other[name] - whole).norm() <= 0.02 * change, name


def test_only_adapter_and_projector_are_trained(vlm: VisionLanguageModel):
    adapted = add_adapter(vlm.model, rank=2, alpha=4, dropout=0.0)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    lora = {name for name in trained if "lora_" in name}
    assert len(lora) == 2 * 7 * 2  # A and B, seven linear layers, two blocks
    assert all("language_model.layers" in name for name in lora)
    assert len(trained - lora) == 4  # the projector's weights and biases
    assert all("multi_modal_projector" in name for name in trained - lora)


@pytest.mark.parametrize(
    ("tower", "marker"), [("lora", "vision_tower.encoder"), ("full", "vision_tower.modules_to_save")]
)
def test_vision_tower_can_be_trained(vlm: VisionLanguageModel, tower: Any, marker: str):
    adapted = add_adapter(vlm.model, rank=2, alpha=4, dropout=0.0, projector="frozen", vision_tower=tower)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert any(marker in name for name in trained)
    assert not any("multi_modal_projector" in name for name in trained)


def adapted_rows(vlm: VisionLanguageModel) -> tuple:
    adapted = add_adapter(vlm.model, rank=2, alpha=4, dropout=0.0)
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted, [{"input_ids": torch.tensor([[0, 5, 6, 7, 8]])}]


def test_merge_equals_adapter(vlm: VisionLanguageModel):
    adapted, rows = adapted_rows(vlm)
    expected = adapted(**rows[0]).logits
    merged, change = merge_adapter(adapted, rows, torch.float32)
    torch.testing.assert_close(merged(**rows[0]).logits, expected, rtol=1e-4, atol=1e-5)
    assert change > 1e-3


def test_a_merge_that_differs_is_refused(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch):
    adapted, rows = adapted_rows(vlm)
    monkeypatch.setattr(adapted, "merge_and_unload", lambda **_: adapted.unload())  # loses the adapter
    with pytest.raises(SeeWhyError, match="merged model does not answer as its adapter does: a logit differs by"):
        merge_adapter(adapted, rows, torch.float32)


def test_a_bfloat16_model_stays_one(base: Path, tmp_path: Path):
    vlm = VisionLanguageModel.load(base, device="cpu", dtype="bfloat16")
    turns = [Turn(str(n), picture(tmp_path / "a.png", "red"), "Name it.", "A crow.") for n in range(4)]
    model = tune(vlm, turns, replace(CONFIG, gradient_checkpointing=True), tmp_path / "out", seed=0)
    assert {t.dtype for t in load_file(model / "model.safetensors").values()} == {torch.bfloat16}
    assert {t.dtype for t in load_file(model.parent / "adapter/adapter_model.safetensors").values()} == {torch.float32}


@pytest.mark.parametrize(
    ("dtype", "method", "rate"),
    [("float32", "lora", 0.0), ("float32", "full", 0.0), ("bfloat16", "lora", 1e-15), ("bfloat16", "full", 1e-15)],
)
def test_a_round_that_changed_nothing_is_not_believed(base: Path, tmp_path: Path, dtype: str, method: Any, rate: float):
    """At a rate of 1e-15 the weights move, but not once they are rounded."""
    vlm = VisionLanguageModel.load(base, device="cpu", dtype=dtype)
    turns = [Turn("a", picture(tmp_path / "a.png", "red"), "Name it.", "A crow.")]
    config = replace(CONFIG, method=method, learning_rate=rate, projector="frozen")  # whose zeros would move
    with pytest.raises(SeeWhyError, match=f"Tuning changed nothing: in {dtype} no logit moved"):
        tune(vlm, turns, config, tmp_path / "out", seed=0)
    assert not (tmp_path / "out/model").exists()


def test_checkpoints_of_another_plan_do_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before, after = {"tune": {"epochs": 1}}, {"tune": {"epochs": 2}}
    Checkpoints(tmp_path, before).newest()
    (tmp_path / "checkpoint-2").mkdir()
    Checkpoints(tmp_path, before).complete(2)
    assert Checkpoints(tmp_path, before).newest() == str(tmp_path / "checkpoint-2")
    assert "anew" not in capsys.readouterr().err
    assert Checkpoints(tmp_path, after).newest() is None
    assert not (tmp_path / "checkpoint-2").exists()
    said = capsys.readouterr().err
    assert "tuning begins anew, without checkpoint-2" in said
    assert "(tune.epochs: 1 -> 2)" in said


@pytest.mark.parametrize("change", [{"checkpoint_steps": 1}, {"gradient_checkpointing": True}])
def test_a_throughput_setting_changed_midway_goes_on_from_the_checkpoint(
    base: Path, tmp_path: Path, uninterrupted: dict[str, str], change: dict[str, Any]
):
    assert tune_in_process(base, tmp_path, 4, "step") == -9
    (checkpoint,) = (tmp_path / "checkpoints").glob("checkpoint-4")
    made = checkpoint.stat().st_ino
    assert tune_in_process(base, tmp_path, 5, "step", change) == -9
    (newest,) = (tmp_path / "checkpoints").iterdir()
    if "checkpoint_steps" in change:
        assert newest.name == "checkpoint-5"
    else:
        assert (newest.name, newest.stat().st_ino) == ("checkpoint-4", made)
    assert tune_in_process(base, tmp_path, 0, "never", change) == 0
    assert digests(tmp_path) == uninterrupted


def test_trackers_are_no_part_of_a_checkpoint():
    before, after = (_made_of([], replace(CONFIG, trackers=t), 0, shared=True) for t in ((), ("tensorboard",)))
    assert before == after
    assert _made_of([], replace(CONFIG, epochs=2), 0, shared=True) != before


def test_another_micro_batch_size_midway_goes_on_from_the_checkpoint(base: Path, tmp_path: Path):
    """A step holds the same turns however it is cut, so the weights differ by rounding alone, where none drops out."""
    plain = {"lora_dropout": 0.0}
    assert tune_in_process(base, tmp_path / "never", 0, "never", plain) == 0
    assert tune_in_process(base, tmp_path / "changed", 5, "step", plain) == -9
    change = {**plain, "micro_batch_size": 4}
    assert tune_in_process(base, tmp_path / "changed", 1, "step", change) == 0  # that step is not taken again
    never, changed = (load_file(tmp_path / name / "model/model.safetensors") for name in ("never", "changed"))
    untuned = load_file(base / "model.safetensors")
    assert max(float((never[name] - untuned[name]).abs().max()) for name in never) > 1e-3
    assert max(float((never[name] - changed[name]).abs().max()) for name in never) < 1e-4


def test_half_removed_checkpoints_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoints = Checkpoints(tmp_path, {"seed": 0})
    (tmp_path / "checkpoint-2").mkdir()
    checkpoints.complete(2)
    monkeypatch.setattr(shutil, "rmtree", Mock(side_effect=KeyboardInterrupt))  # dies before the first file is gone
    with pytest.raises(KeyboardInterrupt):
        checkpoints.remove()
    monkeypatch.undo()
    assert checkpoints.newest() is None


@pytest.mark.parametrize(
    ("query", "answer", "message"),
    [
        ("Name <image> it.", "A crow.", "Turn bad: The text 'Name <image> it.' holds '<image>'"),
        ("Name it.", "A crow.</s>", "Turn bad: .*holds '</s>'"),
        ("Name it.", "A crow. USER: more", "Turn bad: .*holds 'USER:'"),
    ],
)
def test_bad_turns_are_named_before_training(
    vlm: VisionLanguageModel, query: str, answer: str, message: str, tmp_path: Path
):
    with pytest.raises(SeeWhyError, match=message):
        tune(vlm, [Turn("good", "", "Name it.", "A crow."), Turn("bad", "", query, answer)], CONFIG, tmp_path, seed=0)
    assert not list(tmp_path.iterdir())


def test_no_turns(vlm: VisionLanguageModel, tmp_path: Path):
    with pytest.raises(SeeWhyError, match="nothing to tune on"):
        tune(vlm, [], CONFIG, tmp_path, seed=0)


def test_a_batch_that_does_not_divide(vlm: VisionLanguageModel, tmp_path: Path):
    with pytest.raises(SeeWhyError, match="no multiple"):
        tune(vlm, [Turn("a", "", "Q", "A")], replace(CONFIG, batch_size=5, micro_batch_size=2), tmp_path, seed=0)
