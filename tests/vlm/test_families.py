"""Sharing an image is exact in every family: in tuning, in sampling, and where it cannot be, it is refused aloud."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from PIL import Image

from families import FAMILIES, Kind, no_torchvision, processors, tiny
from seewhy.config import AugmentConfig, TuneConfig
from seewhy.records import Prompt, Sampling, Turn
from seewhy.vlm import tuning
from seewhy.vlm.adapter import add_adapter, frozen_parts, projector_names, rest_frozen, vision_tower_of
from seewhy.vlm.chat import IGNORED, Row, collate, encode, encode_all, encode_answered, open_image, token_level
from seewhy.vlm.data import Schedule
from seewhy.vlm.loss import answer_loss
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import Layout, branch_attention, share, why_not_shared
from seewhy.vlm.sampling import BatchSampler, PlainDecoder, SharedDecoder
from seewhy.vlm.tuning import sharing_agrees, tune

PROJECTORS = {
    "llava": ["model.multi_modal_projector"],
    "llava_next": ["model.multi_modal_projector"],
    "qwen25_vl": ["model.visual.merger"],
    "qwen3_vl": ["model.visual.merger", "model.visual.deepstack_merger_list.0"],
    "smolvlm": ["model.connector"],
    "internvl": ["model.multi_modal_projector"],
    "gemma3": ["model.multi_modal_projector"],
    "fast_vlm": ["model.multi_modal_projector"],
}
PLAIN = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)
CONFIG = TuneConfig(epochs=1, learning_rate=1e-2, batch_size=3, micro_batch_size=3, lora_rank=2, augment=PLAIN)
GREEDY = Sampling(max_new_tokens=12)
SIZES = {"square": (32, 32), "wide": (40, 20)}
PAIRS = {
    "Name it.": "A Fish Crow.",
    "Which bird is it, and why?": "It has a red crest, so this is a Fish Crow.",
    "Describe the bird.": "Wings.",
}
UNEVEN = {"llava_next", "qwen25_vl", "qwen3_vl", "smolvlm", "internvl"}  # the number of tokens follows the image's size


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=get_args(Kind))
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def base(family: str, kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with processors(kind):
        yield tiny(family, tmp_path_factory.mktemp(family), kind)


@pytest.fixture(scope="module")
def vlm(base: Path) -> VisionLanguageModel:
    return VisionLanguageModel.load(base, device="cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pictures")
    for name, size in SIZES.items():
        Image.linear_gradient("L").rotate(90 * (name == "wide")).resize(size).convert("RGB").save(
            folder / f"{name}.png"
        )
    return {name: str(folder / f"{name}.png") for name in SIZES}


def test_both_kinds_see_the_same_image(
    family: str, kind: Kind, vlm: VisionLanguageModel, base: Path, pictures: dict[str, str]
):
    """As many tokens, and pixels that differ by rounding; weights are never compared between the kinds."""
    assert type(vlm.processor.image_processor).__name__.endswith("Pil") == (kind == "pillow")  # pyright: ignore
    with processors("pillow"):
        pillow = VisionLanguageModel.load(base, device="cpu")
    for picture in pictures.values():
        row, expected = (encode(of_kind, "Name it.", open_image(picture)) for of_kind in (vlm, pillow))
        assert torch.equal(row["input_ids"], expected["input_ids"])
        torch.testing.assert_close(row["pixel_values"], expected["pixel_values"], rtol=0, atol=0.02)


def answered_rows(vlm: VisionLanguageModel, picture: str) -> list[Row]:
    return [encode_answered(vlm, query, answer, open_image(picture)) for query, answer in PAIRS.items()]


@pytest.mark.parametrize("attention", [nullcontext, branch_attention])
def test_sharing_gives_the_loss_and_gradients_of_separate_sequences(
    family: str, vlm: VisionLanguageModel, pictures: dict[str, str], attention: Callable[..., AbstractContextManager]
):
    groups = [answered_rows(vlm, picture) for picture in pictures.values()]
    groups.append([encode_answered(vlm, "Say yes.", "Yes.", None)])
    together = [row for group in groups for row in share(group, vlm)]
    assert [int(row["segments"].max()) for row in together] == [3, 3, 0]  # three branches an image
    assert (len({int((row["segments"] == 0).sum()) for row in together[:2]}) > 1) == (family in UNEVEN)
    rows = [row for group in groups for row in group]
    labelled = sum(int((row["labels"] != IGNORED).sum()) for row in rows)

    vlm.model.zero_grad()
    expected = torch.zeros(())
    for row in rows:
        plain = answer_loss(vlm.model, share([row], vlm)[0])
        torch.testing.assert_close(plain, vlm.model(**row).loss, rtol=1e-5, atol=0)
        loss = plain * int((row["labels"] != IGNORED).sum()) / labelled
        loss.backward()
        expected += loss.detach()
    expected_gradients = gradients(vlm)
    vlm.model.zero_grad()
    with attention(vlm.model):
        loss = answer_loss(vlm.model, collate(together, vlm.pad_token_id, "right"), labelled)
        loss.backward()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=0)
    assert_gradients_equal(gradients(vlm), expected_gradients)


def gradients(vlm: VisionLanguageModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in vlm.model.named_parameters() if p.grad is not None}


def assert_gradients_equal(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert actual.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in actual.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6 * largest, msg=f"gradient of {name}")


@pytest.mark.parametrize("attention", [nullcontext, branch_attention])
def test_gradient_checkpointing_changes_nothing(
    vlm: VisionLanguageModel, pictures: dict[str, str], attention: Callable[..., AbstractContextManager]
):
    rows = [row for picture in pictures.values() for row in share(answered_rows(vlm, picture), vlm)]
    batch = collate(rows, vlm.pad_token_id, "right")
    results = []
    for checkpointing in (False, True):
        vlm.model.train().zero_grad()
        rest_frozen(frozen_parts(vlm.model))
        if checkpointing:
            vlm.model.gradient_checkpointing_enable({"use_reentrant": False})
        with attention(vlm.model):
            loss = answer_loss(vlm.model, batch)
            loss.backward()
        results.append((loss.detach(), gradients(vlm)))
    vlm.model.gradient_checkpointing_disable()
    vlm.model.eval()
    (expected, expected_gradients), (actual, actual_gradients) = results
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=0)
    assert_gradients_equal(actual_gradients, expected_gradients)


def test_who_shares(family: str, vlm: VisionLanguageModel, pictures: dict[str, str], recwarn: pytest.WarningsRecorder):
    assert sharing_agrees(vlm, schedule(vlm, pictures))
    assert (BatchSampler(vlm, 2)._decoder is SharedDecoder) == (family != "gemma3")
    said = [str(warning.message) for warning in recwarn if warning.category is UserWarning]
    assert any("layers that do not attend to all that came before" in text for text in said) == (family == "gemma3")
    assert not any("Image sharing is off" in text for text in said)


def turns(pictures: dict[str, str]) -> list[Turn]:
    return [Turn(f"{name}/{q}", path, q, answer) for name, path in pictures.items() for q, answer in PAIRS.items()]


def schedule(vlm: VisionLanguageModel, pictures: dict[str, str]) -> Schedule:
    return Schedule(vlm, turns(pictures), pairs=3, epochs=1, changes=PLAIN, seed=0)


@pytest.mark.filterwarnings("ignore:.*layers that do not attend to all:UserWarning")
@pytest.mark.parametrize("share_image", [True, False])
def test_greedy_equals_generate(vlm: VisionLanguageModel, pictures: dict[str, str], share_image: bool):  # noqa: FBT001
    prompts = [Prompt(f"{name}/{query}", path, query) for name, path in pictures.items() for query in PAIRS]
    prompts.append(Prompt("text alone", "", "Say yes."))
    texts = BatchSampler(vlm, 8, share_image=share_image).sample(prompts, GREEDY, 0)
    assert texts == [[generated(vlm, prompt)] for prompt in prompts]
    assert len({text for (text,) in texts}) == len(prompts)


def generated(vlm: VisionLanguageModel, prompt: Prompt) -> str:
    row = encode(vlm, prompt.text, open_image(prompt.image) if prompt.image else None)
    model: Any = vlm.model
    out = model.generate(**row, max_new_tokens=GREEDY.max_new_tokens, do_sample=False)
    ids = out[0, row["input_ids"].shape[1] :].tolist()
    length = next((place for place, token in enumerate(ids) if token in vlm.stop_token_ids), len(ids))
    return str(vlm.tokenizer.decode(ids[:length])).strip()


@pytest.mark.parametrize("decoder_class", [SharedDecoder, PlainDecoder])
@torch.inference_mode()
def test_every_token_is_drawn_from_the_distribution_of_its_own_sequence(
    family: str,
    vlm: VisionLanguageModel,
    pictures: dict[str, str],
    decoder_class: type[SharedDecoder] | type[PlainDecoder],
):
    if (family, decoder_class) == ("gemma3", SharedDecoder):
        assert why_not_shared(vlm.model, "sample")  # its windows slide, so it is never decoded in this way
        return
    square, wide = (encode_all(vlm, list(PAIRS), open_image(picture)) for picture in pictures.values())
    groups = [square, wide[:1], [encode(vlm, "Say yes.", None)]]
    sequences = [row for rows in groups for row in rows for _ in range(2)]
    decoder = decoder_class(vlm, groups, 2)
    generator = torch.Generator().manual_seed(0)
    for stay in (None, [0, 1, 3, 6, 8], [1, 3], None):
        if stay is not None:
            decoder.keep(torch.tensor(stay))
            sequences = [sequences[place] for place in stay]
        alone = torch.stack([vlm.model(**row).logits[0, -1] for row in sequences])
        torch.testing.assert_close(decoder.logits_BV, alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))
        drawn = torch.randint(20, 300, (len(sequences),), generator=generator)
        decoder.step(drawn)
        sequences = [continued(row, token) for row, token in zip(sequences, drawn, strict=True)]


def continued(row: Row, token: torch.Tensor) -> Row:
    after = {"input_ids": token, "attention_mask": torch.tensor(1)}
    longer = dict(row)
    for name in token_level(row):
        longer[name] = torch.cat([row[name], after.get(name, torch.tensor(0)).reshape(1, 1).to(row[name].dtype)], 1)
    return longer


def test_encode_all_equals_encode(family: str, vlm: VisionLanguageModel, pictures: dict[str, str]):
    questions = [*PAIRS, "\nName it.", " Name it.", "\n\nWhy?"]
    for picture in pictures.values():
        image = open_image(picture)
        rows = encode_all(vlm, questions, image)
        processed_once = len({id(row["pixel_values"]) for row in rows}) == 1
        assert processed_once == (family != "gemma3")  # which writes line breaks after an image
        for row, question in zip(rows, questions, strict=True):
            expected = encode(vlm, question, image)
            assert int((row["input_ids"] == vlm.image_token_id).sum()) > 1
            assert row.keys() == expected.keys()
            assert all(torch.equal(row[name], expected[name]) for name in row)


def test_language_model_and_projector_are_adapted(family: str, base: Path):
    model = VisionLanguageModel.load(base, device="cpu").model
    assert projector_names(model) == PROJECTORS[family]
    linears = [module for module in model.get_decoder().modules() if type(module) is torch.nn.Linear]
    trained = trained_names(add_adapter(model, rank=2, alpha=4, dropout=0.0))
    lora = {name for name in trained if "lora_" in name}
    assert len(lora) == 2 * len(linears)
    in_full = {name.partition(".modules_to_save")[0] for name in trained - lora}
    assert in_full == {f"base_model.model.{name}" for name in PROJECTORS[family]}


@pytest.mark.parametrize(
    ("vision_tower", "projector", "mark"), [("lora", "frozen", "lora_"), ("full", "full", "modules_to_save")]
)
def test_the_vision_tower_can_be_adapted(
    base: Path, pictures: dict[str, str], vision_tower: Any, projector: Any, mark: str
):
    vlm = VisionLanguageModel.load(base, device="cpu")
    projectors = projector_names(vlm.model)
    tower = next(name for name, module in vlm.model.named_modules() if module is vision_tower_of(vlm.model))
    adapted = add_adapter(vlm.model, rank=2, alpha=4, dropout=0.0, projector=projector, vision_tower=vision_tower)
    adapted.train()
    rest_frozen(frozen_parts(adapted))
    adapted(**answered_rows(vlm, pictures["wide"])[0]).loss.backward()
    trained = {name.removeprefix("base_model.model.") for name in trained_names(adapted)}
    assert any(name.startswith(f"{tower}.") and mark in name for name in trained)
    assert not any(name.startswith(part) and "lora_" in name for name in trained for part in projectors)


def trained_names(model: torch.nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_tuning_writes_a_model_that_loads(
    base: Path, pictures: dict[str, str], tmp_path: Path, recwarn: pytest.WarningsRecorder
):
    vlm = VisionLanguageModel.load(base, device="cpu")
    before = {name: weight.clone() for name, weight in vlm.model.state_dict().items()}
    tuned = VisionLanguageModel.load(tune(vlm, turns(pictures), CONFIG, tmp_path, seed=0), device="cpu")
    said = [str(warning.message) for warning in recwarn]
    assert not any("Image sharing is off" in text or "Tuning changed nothing" in text for text in said)
    after = tuned.model.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert any(name.startswith(tuple(projector_names(tuned.model))) for name in changed)
    generated(tuned, Prompt("a", pictures["wide"], "Name it."))


@pytest.fixture
def llava(tmp_path: Path) -> VisionLanguageModel:
    return VisionLanguageModel.load(FAMILIES["llava"](tmp_path / "llava"), device="cpu")


@pytest.mark.parametrize(
    ("before", "after", "shared"),
    [
        ("USER: ", "USER: Look closely at this picture: ", True),  # text before the image that all have in common
        ("message['content'] %}", "message['content'] | reverse %}", False),  # the question before the image
    ],
)
def test_text_before_the_image(
    llava: VisionLanguageModel, pictures: dict[str, str], before: str, after: str, *, shared: bool
):
    llava.processor.chat_template = str(llava.processor.chat_template).replace(before, after)
    rows = answered_rows(llava, pictures["wide"])
    together = share(rows, llava)
    assert len(together) == (1 if shared else len(rows))
    labelled = sum(int((row["labels"] != IGNORED).sum()) for row in rows)
    alone = sum(llava.model(**row).loss * (row["labels"] != IGNORED).sum() for row in rows) / labelled
    torch.testing.assert_close(answer_loss(llava.model, collate(together, llava.pad_token_id, "right")), alone)
    prompts = [Prompt(query, pictures["wide"], query) for query in PAIRS]
    assert BatchSampler(llava, 8).sample(prompts, GREEDY, 0) == [[generated(llava, prompt)] for prompt in prompts]
    if shared:
        assert sharing_agrees(llava, schedule(llava, pictures))
    else:
        with pytest.warns(UserWarning, match="its prompts differ before the end of the image"):
            assert not sharing_agrees(llava, schedule(llava, pictures))


def test_a_wrong_mask_is_caught_and_every_turn_tuned_on_alone(
    llava: VisionLanguageModel, pictures: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def branches_see_what_follows(segments: Sequence[int], device: torch.device) -> Layout:
        layout = layout_of(segments, device)
        return replace(layout, seen_LS=torch.ones_like(layout.seen_LS))

    layout_of = Layout.of
    batches = []

    def seen(rows: list[Row], *rest: Any) -> Row:
        batches.append(rows)
        return collate(rows, *rest)

    monkeypatch.setattr(Layout, "of", branches_see_what_follows)
    monkeypatch.setattr(tuning, "collate", seen)
    with pytest.warns(
        UserWarning, match=r"Image sharing is off for .*: with it, logits differ by 0\.\d+ of the largest"
    ):
        model = tune(llava, turns(pictures), CONFIG, tmp_path / "out", seed=0)
    assert [len(rows) for rows in batches] == [3, 3]
    assert not any(row["segments"].any() for rows in batches for row in rows)
    VisionLanguageModel.load(model, device="cpu")


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("_attn_implementation", "flash_attention_2", "attention by flash_attention_2 takes no mask"),
        ("layer_types", ["full_attention", "chunked_attention"], "there are layers of chunked_attention"),
    ],
)
def test_attention_that_takes_no_such_mask_is_not_shared(
    llava: VisionLanguageModel, pictures: dict[str, str], setting: str, value: Any, reason: str
):
    setattr(llava.model.config.get_text_config(), setting, value)
    with pytest.warns(UserWarning, match=f"Image sharing is off for .*: {reason}"):
        assert not sharing_agrees(llava, schedule(llava, pictures))


def test_a_question_that_may_be_joined_to_the_image_is_tokenised_with_it(tmp_path: Path, pictures: dict[str, str]):
    """Gemma 3 writes line breaks after an image: those that begin a question make one token with them."""
    with no_torchvision():
        vlm = VisionLanguageModel.load(FAMILIES["gemma3"](tmp_path), device="cpu")
    vlm.processor.chat_template = str(vlm.processor.chat_template).replace("user\n", "user: ")
    image, questions = open_image(pictures["wide"]), ["Name it.", "\n\nName it."]
    expected = [encode(vlm, question, image)["input_ids"].tolist() for question in questions]
    assert [row["input_ids"].tolist() for row in encode_all(vlm, questions, image)] == expected
