"""`seewhy plan` against counted truth on tiny models, and what it says where things do not fit."""

import copy
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from families import FAMILIES, no_torchvision
from seewhy.cli import main
from seewhy.config import (
    SELF,
    AugmentConfig,
    ModelConfig,
    RunConfig,
    SelectConfig,
    TuneConfig,
)
from seewhy.cost import estimate
from seewhy.cost.estimate import Planner, outline, plan_run, smallest_gpu
from seewhy.cost.hardware import (
    GPUS,
    USABLE,
    Gpu,
    Shape,
    Trained,
    Utilisation,
    find_gpu,
    gpu_of_device,
    trainable_on_meta,
)
from seewhy.cost.memory import Batch, shallow, step_peak
from seewhy.cost.scaling import scale
from seewhy.cost.tokens import (
    Assumed,
    Lengths,
    StageTokens,
    Together,
    Workload,
    selected_share,
    size_of,
    spread,
    stages,
)
from seewhy.errors import SeeWhyError
from seewhy.method.covered import answers_each
from seewhy.records import Turn
from seewhy.report.terminal_checks import nested, print_cost
from seewhy.run import loop
from seewhy.run.stages import StageKey
from seewhy.vlm.data import Schedule
from seewhy.vlm.model import VisionLanguageModel
from tiny_run import tiny_run

ROOT = Path(__file__).parents[1]
H100 = GPUS["H100"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """bench.plan, which holds the counting and measuring."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from bench import plan

        yield plan
    torch.set_num_threads(threads)
    sys.modules.pop("bench.plan", None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(
        tmp_path_factory.mktemp("data"),
        train=2,
        test=1,
        rounds=2,
        controls=("nl",),
        model={"batch_size": 12},
        describe={"prompts_per_image": 20, "samples_per_prompt": 1},
        synthesise={"answers_per_image": 20},
        tune={"epochs": 2, "learning_rate": 1e-6, "batch_size": 20, "micro_batch_size": 20},
        sample={"queries_per_image": 20, "samples_per_query": 3},
        evaluate={"bootstrap": 10},
    )


@pytest.mark.slow
@pytest.mark.parametrize("share_image", [True, False])
def test_planned_tokens_are_those_of_a_run(config: RunConfig, bench: Any, tmp_path: Path, share_image: bool):  # noqa: FBT001
    """Random weights name no label and end no text: every training answer is the label sentence, is asked for at every
    try, and all texts are full. At that learning rate it stays so."""
    model = replace(config.model, share_image=share_image)
    again = {"rounds": 2, "controls": ("nl",)} if share_image else {"rounds": 1, "controls": ()}
    config = replace(config, output=str(tmp_path / "run"), model=model, **again)
    with bench.counted() as truth:
        loop.run(config)
    plan = bench.planned(plan_run(config, None, Assumed(length=1.0, fallback=1.0, again=1.0)))
    assert {name for name, tokens in plan.read.items() if tokens} == {name for name in truth.read if truth.read[name]}
    for planned, counted in ((plan.read, truth.read), (plan.written, truth.written)):
        found = bench.ratios(planned, counted)
        assert found["all"] == pytest.approx(1, abs=0.05), found
        for stage, ratio in found.items():
            assert ratio == pytest.approx(1, abs=0.1), stage  # of a stage alone, whose few questions are drawn


@pytest.mark.slow
@pytest.mark.parametrize("number", range(11))
def test_a_planned_step_takes_the_memory_of_a_real_one(bench: Any, number: int):
    case = bench.CASES[number]
    planned, allocated = bench.step_bytes(case)
    assert planned == pytest.approx(allocated, rel=0.15), case


def test_the_shape_is_that_of_the_weights(config: RunConfig):
    vlm = VisionLanguageModel.load(config.model.name_or_path, device="cpu")
    shape = Shape.of(outline(config, torch.float32))
    assert shape.total == sum(parameter.numel() for parameter in vlm.model.parameters())
    assert shape.keys == 2 * 2 * 4 * 8  # keys and values, layers, heads, size
    assert shape.attention == 2 * 4 * 8


def test_several_gpus_divide_what_can_be_divided(config: RunConfig, capsys: pytest.CaptureFixture[str]):
    planned = replace(config, shard_size=2, tune=replace(config.tune, batch_size=4))
    cost = plan_run(planned, H100)
    one, two, four, many = (scale(cost, planned, gpus) for gpus in (1, 2, 4, 1000))
    assert one.divided == pytest.approx(cost.seconds)
    assert one.alone["adding up gradients"] == 0 < two.alone["adding up gradients"] < four.alone["adding up gradients"]
    assert one.divided / 2 <= two.divided < one.divided
    assert many.divided == scale(cost, planned, 10_000).divided  # no more than one shard, one turn of a step, for each
    assert four.seconds == pytest.approx(four.divided + sum(four.alone.values()))
    assert four.gpu_hours == pytest.approx(4 * four.seconds / 3600)
    print_cost(replace(cost, scaled=four), Console())
    assert "on 4 of them" in capsys.readouterr().out
    assert replace(cost, scaled=four).as_json()["scaled"]["alone"]["loading models"] > 0
    with pytest.raises(SeeWhyError, match="--gpus needs to know the card"):
        scale(plan_run(planned, None), planned, 8)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_planned(family: str, config: RunConfig, tmp_path: Path):
    with no_torchvision():
        model = str(FAMILIES[family](tmp_path / "model"))
        planned = replace(config, model=replace(config.model, name_or_path=model, batch_size=4))
        shape = Shape.of(outline(planned, torch.float32))
        cost = plan_run(planned, H100)
        weights = VisionLanguageModel.load(model, device="cpu").model
    loose = {"model.image_newline"}  # LLaVA-NeXT's, in no module
    held = {name: p.numel() for name, p in weights.named_parameters()}
    assert shape.total == sum(count for name, count in held.items() if name not in loose)
    assert cost.tuning.step > 0
    assert cost.fits
    assert json.loads(json.dumps(cost.as_json()))["stages"][0]["tokens_read"] > 0


def stage(**changes: Any) -> StageTokens:
    given = {
        "key": StageKey("describe"), "kind": "sample", "images": 10, "prefixes": 10, "prompts": 20, "answers": 60,
        "prefix": 100.0, "question": 10.0, "answer": 5.0, "longest": 8,
    }  # fmt: skip
    return StageTokens(**{**given, **changes})


def test_what_a_stage_computes():
    assert stage().read == 10 * 100 + 20 * 10
    assert stage().read_separately == 20 * 110
    assert stage().written == 300
    assert stage(kind="tune", answers=20).read == 10 * 100 + 20 * 15
    assert stage(kind="tune", answers=20).written == 0


SHAPE = Shape(
    decoder=1000, head=100, embeddings=0, tower=50, projector=10, layers=2, width=8, attention=16, keys=32,
    vocabulary=10,
)  # fmt: skip


def test_operations():
    """By hand, from the formulas of time.py."""
    read, written = estimate.sampling_flops(SHAPE, stage(question=0.0, prefix=1e-9, answer=1.0, answers=20), 4)
    assert written == pytest.approx(20 * (2 * 1100 + 4 * 16 * 0.5), rel=1e-3)  # a token attends to half of itself
    assert read == pytest.approx(2 * 100 * 20 + 10 * 2 * 50 * 4, rel=1e-3)
    tuned = stage(kind="tune", answers=20, prefix=1e-9, question=0.0, answer=1.0)
    trained = Trained(parameters=30, adapter=20, weights=0)

    def flops(**settings: Any) -> float:
        config = RunConfig(tune=replace(TuneConfig(), **settings))
        return estimate.tuning_flops(SHAPE, trained, tuned, 0.0, config) - 4 * 16 * estimate.attended(tuned) * again

    again = 3
    assert flops() == pytest.approx(20 * (4 * 1000 + 6 * 20 + 4 * 100), rel=1e-3)
    full = replace(trained, adapter=0)
    trained, again = full, 3
    assert flops(method="full") == pytest.approx(20 * (6 * 1000 + 6 * 100), rel=1e-3)
    again = 4
    assert flops(method="full", gradient_checkpointing=True) == pytest.approx(20 * (8 * 1000 + 6 * 100), rel=1e-3)


def test_writing_takes_the_longest_of_its_three_reasons():
    config = RunConfig(model=ModelConfig(batch_size=20))
    reading = estimate.sampling_seconds(SHAPE, stage(), 0, config, H100, Utilisation(layer_seconds=0.0))
    launching = estimate.sampling_seconds(SHAPE, stage(), 0, config, H100, Utilisation(layer_seconds=1.0))
    assert launching == pytest.approx(math.ceil(60 / 20) * 8 * 2 * 1.0, rel=1e-3)
    assert reading < 1e-3


def test_a_batch():
    assert Batch(rows=2, prefix=10, branches=3, question=4, answer=5).row_tokens == 10 + 3 * 9
    assert Batch(rows=2, prefix=10, branches=3, question=4, answer=5).labelled == 2 * 3 * 5


@pytest.mark.parametrize(
    ("images", "pairs", "batch_size", "micro", "expected"),
    [
        (12, 8, 32, 32, Together(prefixes=1, rows=4, branches=8)),
        (12, 8, 32, 8, Together(prefixes=1, rows=1, branches=8)),
        (12, 8, 32, 4, Together(prefixes=2, rows=1, branches=4)),
        (16, 5, 8, 8, Together(prefixes=1 + 8 / 16, rows=3, branches=5)),  # 5+3, 2+5+1, 4+4, 1+5+2, 3+5: ten steps
        (16, 3, 16, 16, Together(prefixes=1 + 2 / 16, rows=6, branches=3)),  # 48 in three steps, of which two are cut
    ],
)
def test_images_that_stand_together(images: int, pairs: int, batch_size: int, micro: int, expected: Together):
    tune = TuneConfig(batch_size=batch_size, micro_batch_size=micro)
    assert Together.of(RunConfig(tune=tune), images, pairs) == expected


def test_planned_prefixes_are_those_of_the_schedule(config: RunConfig, tmp_path: Path):
    """Three pairs an image, and replay, in steps of sixteen: counted in the rows that a model would be given."""
    vlm = VisionLanguageModel.load(config.model.name_or_path, device="cpu")
    turns = []
    for number in range(21):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
        turns += [Turn(f"{number}/{n}", str(tmp_path / f"{number}.png"), "Name it.", "A crow.") for n in range(3)]
    texts = [Turn(f"r{n}", "", "Say it.", "Yes.") for n in range(21)]
    for replay, ratio in (([], 0.0), (texts, 1 / 3)):
        settings = {"epochs": 1, "batch_size": 16, "micro_batch_size": 8, "replay": "x" if replay else None}
        planned = Together.of(RunConfig(tune=TuneConfig(**settings, replay_ratio=ratio)), 21, 3)
        schedule = Schedule(vlm, [*turns, *replay], pairs=16, epochs=1, changes=AugmentConfig(), seed=0)
        batches = [rows for step in range(len(schedule)) for rows in schedule.micro_batches(step, 8)]
        with_image = [sum("pixel_values" in row for row in rows) for rows in batches]
        assert max(with_image) <= planned.rows + (1 if replay else 0)  # fillers come by length, which is drawn
        assert sum(with_image) == pytest.approx(planned.prefixes * 21, abs=3 if replay else 0.01)


def test_self_replay_is_planned_as_a_stage_and_stands_with_its_images_in_tuning(config: RunConfig):
    tuned = replace(config, tune=replace(config.tune, replay=SELF, replay_ratio=1.0))
    work, vlm = Workload.read(config), outline(config, torch.float32)
    lengths = Lengths.of(vlm, work, config.select)
    without, mixed = ({str(row.key): row for row in stages(c, work, vlm, lengths, Assumed())} for c in (config, tuned))
    assert set(mixed) - set(without) == {"replay"}
    images, each = work.images["train"], config.synthesise.answers_per_image
    assert mixed["replay"].answers == images * math.ceil(0.75 * each)  # a quarter are descriptions, which are there
    assert mixed["round-1/model"].prompts == 2 * without["round-1/model"].prompts
    assert Together.of(tuned, 21, 3) == Together.of(config, 21, 6)
    assert mixed["round-1/model"].prefixes == config.tune.epochs * images * 2  # 40 turns an image, in steps of 20


def test_copies_with_a_covered_part_are_planned(config: RunConfig):
    tuned = replace(config, tune=replace(config.tune, covered=0.5))
    work, vlm = Workload.read(config), outline(config, torch.float32)
    lengths = Lengths.of(vlm, work, config.select)
    without, beside = ({str(row.key): row for row in stages(c, work, vlm, lengths, Assumed())} for c in (config, tuned))
    assert set(beside) - set(without) == {"describe-covered", "round-1/answers-covered"}
    copies, each = math.ceil(work.images["train"] / 2), answers_each(config.synthesise)
    assert beside["describe-covered"].images == beside["round-1/answers-covered"].images == copies
    more = beside["round-1/model"].prompts - without["round-1/model"].prompts
    assert more == config.tune.epochs * copies * each


def test_the_forecast_follows_the_rule_of_selection(config: RunConfig):
    """How many concepts are told in synthesis, and what its questions are."""
    assert selected_share(SelectConfig(rule="image")) == pytest.approx(0.3446, abs=1e-4)
    assert selected_share(SelectConfig(rule="image", threshold_std=0.0)) == 0.5
    assert selected_share(SelectConfig(rule="unlisted")) == 0.57
    work = Workload.read(config)
    work = replace(work, bank={label: [f"long {n} wing" for n in range(20)] for label in work.bank})
    vlm = outline(config, torch.float32)
    told = {rule: Lengths.of(vlm, work, SelectConfig(rule=rule)).instruction for rule in ("image", "unlisted")}
    each = (told["unlisted"] - told["image"]) / (11 - 7)
    assert each > 0
    more = Lengths.of(vlm, work, SelectConfig(rule="image", minimum=12)).instruction
    assert more == pytest.approx(told["image"] + 5 * each, rel=0.1)
    question = Lengths.of(vlm, work, SelectConfig(), explain_share=0.25).question
    assert question["synthesis"] == pytest.approx(0.25 * question["explain"] + 0.75 * question["cot"])
    assert question["explain"] != question["cot"]


def test_sizes_stand_for_all():
    sizes = {(width, 100): 1 for width in range(100, 200)}
    found = spread(sizes, 10)
    assert sum(share for _, share in found) == pytest.approx(1)
    assert sum(width * share for (width, _), share in found) == pytest.approx(149.5, abs=1)
    assert spread({(4, 4): 3, (8, 4): 1}, 10) == [((4, 4), 0.75), ((8, 4), 0.25)]


def test_the_size_of_an_upright_image(tmp_path: Path):
    turned = Image.new("RGB", (30, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.jpg", exif=exif)
    assert size_of(tmp_path / "a.jpg") == (20, 30)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(SeeWhyError, match=r"b\.jpg cannot be read .*seewhy data check"):
        size_of(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H100", "H100"),
        ("h100", "H100"),
        ("NVIDIA A100 80GB", "A100-80"),
        ("a100-40gb", "A100-40"),
        ("rtx 4090", "RTX4090"),
    ],
)
def test_a_gpu_by_name(name: str, found: str):
    assert find_gpu(name).name == found


def test_an_unknown_gpu():
    with pytest.raises(SeeWhyError, match=r"no GPU 'A100' in the table. Do you mean A100-80 or A100-40\? Known: B200,"):
        find_gpu("A100")
    with pytest.raises(SeeWhyError, match="Known: "):
        find_gpu("TPU")


@pytest.mark.parametrize(
    ("said", "gibibytes", "found"),
    [
        ("NVIDIA H100 80GB HBM3", 79.6, "H100"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "A100-40"),
        ("NVIDIA GeForce RTX 4090", 23.6, "RTX4090"),
        ("Tesla K80", 11, None),
    ],
)
def test_a_gpu_by_what_its_driver_calls_it(said: str, gibibytes: float, found: str | None):
    gpu = gpu_of_device(said, int(gibibytes * 2**30))
    assert (gpu and gpu.name) == found


@pytest.fixture
def planner(config: RunConfig) -> Planner:
    return Planner(config, Workload.read(config), H100, Assumed(), lambda dtype: outline(config, dtype))


def test_changes_are_the_fewest_that_fit(planner: Planner, config: RunConfig):
    """Between what a full batch and what half of one takes, half of one is asked for; and so on."""
    whole = planner.tuning(config)
    assert planner.changes(whole.peak) == {}

    def with_changes(**settings: Any) -> float:
        return planner.tuning(replace(config, tune=replace(config.tune, **settings))).peak

    halved = with_changes(gradient_checkpointing=True)
    assert halved < whole.peak
    assert planner.changes(whole.peak - 1) == {"tune.gradient_checkpointing": True}
    single = with_changes(gradient_checkpointing=True, micro_batch_size=1)
    found = planner.changes(max(single, planner._sampling_peak(1)))
    assert found is not None
    assert found["tune.micro_batch_size"] < config.tune.micro_batch_size
    assert found["model.batch_size"] < config.model.batch_size
    assert planner.changes(1000) is None


def test_what_a_card_must_hold():
    assert smallest_gpu(20 * 2**30) in ("L4", "A10", "RTX4090", "RTX3090")
    assert smallest_gpu(GPUS["B200"].memory) is None
    assert smallest_gpu(GPUS["H100"].memory * USABLE + 1) == "H200"


def test_overrides_as_yaml():
    assert nested({"tune.method": "qlora", "tune.micro_batch_size": 4, "model.batch_size": 8}) == {
        "tune": {"method": "qlora", "micro_batch_size": 4},
        "model": {"batch_size": 8},
    }


@pytest.mark.slow
def test_cub_200_with_llava_7b(bench: Any):
    """The paper's setting: it fits an H100 once activations are computed twice or fewer pairs stand together."""
    cost = bench.cub_200(RunConfig(), "H100")
    assert cost.shape.total == pytest.approx(7.06e9, rel=0.01)
    tuned = next(row.tokens for row in cost.stages if str(row.tokens.key) == "round-1/model")
    assert tuned.prompts == 5_994 * 8 * 2
    assert tuned.read == pytest.approx(2 * 5_994 * (tuned.prefix + 8 * (tuned.question + tuned.answer)))
    assert 576 <= tuned.prefix <= 600
    assert cost.trained.adapter == 128 * sum(a + b for a, b in [(4096, 4096)] * 4 + [(4096, 11008)] * 3) * 32
    assert not cost.fits
    assert cost.fits_changed
    assert set(cost.overrides) <= {"tune.micro_batch_size", "tune.gradient_checkpointing", "model.batch_size"}


def write_config(config: RunConfig, folder: Path, **changes: Any) -> Path:
    model = {"name_or_path": config.model.name_or_path, "device": "cpu", **changes}
    lines = [f"data: {{source: {config.data.source}, concepts: {config.data.concepts}}}"]
    lines += [f"model: {json.dumps(model)}", "rounds: 1", f"output: {folder / 'run'}"]
    (folder / "config.yaml").write_text("\n".join(lines))
    return folder / "config.yaml"


def test_the_verb(config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = str(write_config(config, tmp_path))
    assert main(["plan", path, "--gpu", "L4", "--tune.lora_rank", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gpu"]["name"] == "L4"
    assert [row["name"] for row in found["stages"]][:2] == ["base/predictions-test", "describe"]
    assert main(["plan", path, "--gpu", "L4", "--price_in", "1", "--price_out", "2"]) == 0
    said = capsys.readouterr().out
    assert "It fits" in said
    assert "`seewhy judge`, where used: 6 requests" in said
    assert "Assumed, not measured" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpu", "H9000"], "no GPU 'H9000' in the table"),
        (["--length", "0"], "--length is 0, but takes a number above 0 and at most 1"),
        (["--price_in", "1"], "price_out is not given"),
        (["--model.name_or_path", "nobody/no-such-model"], "is not on this machine and the Hub cannot be reached"),
    ],
)
def test_mistakes(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
):
    assert main(["plan", str(write_config(config, tmp_path)), *options]) == 1
    assert message in capsys.readouterr().err


def test_a_shallow_model_says_what_a_deep_one_takes(config: RunConfig):
    """Memory grows by as much with each layer: six simulated are four simulated and two added."""
    batch = Batch(rows=1, prefix=20, branches=2, question=10, answer=10)

    def peak(layers: int, *, cut: bool) -> int:
        vlm = outline(config, torch.float32)
        decoder: Any = vlm.model.get_decoder()
        decoder.layers = torch.nn.ModuleList(copy.deepcopy(decoder.layers[0]) for _ in range(layers))
        decoder.config.num_hidden_layers = layers
        if cut:
            assert shallow(vlm) == layers
            assert len(decoder.layers) == 4
        return step_peak(vlm, trainable_on_meta(vlm, config.tune), batch, torch.float32, layers=layers)

    assert peak(6, cut=True) == pytest.approx(peak(6, cut=False), rel=0.01)


def test_an_automatic_batch_is_the_largest_that_fits(planner: Planner, config: RunConfig):
    automatic = replace(config, model=replace(config.model, device="auto", batch_size=0))

    def batch_size(gpu: Gpu | None) -> int:
        made = Planner(automatic, planner.work, gpu, Assumed(), lambda dtype: outline(config, dtype))
        assert gpu is None or made._sampling_peak(made.config.model.batch_size) <= gpu.memory * USABLE
        return made.config.model.batch_size

    assert batch_size(None) == 16
    assert batch_size(H100) == 384
    small = replace(H100, memory=int(planner._sampling_peak(96) / USABLE) + 1)
    assert batch_size(small) == 96


def test_a_larger_batch_is_named_where_it_saves_time(planner: Planner, config: RunConfig):
    cost = planner.cost()
    assert cost.faster is not None
    size, seconds = cost.faster
    assert size == 192  # 12 doubled, and no further
    larger = replace(config, model=replace(config.model, batch_size=size))
    again = Planner(larger, planner.work, H100, Assumed(), lambda dtype: outline(config, dtype)).cost()
    assert again.seconds == pytest.approx(seconds)
    assert cost.seconds is not None
    assert seconds < cost.seconds
    assert again.faster is None
