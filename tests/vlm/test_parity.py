"""What counts as the same answer of a server and of the model in process, and what does not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm.chat import answer_ids, encode, open_image
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.parity import Reference, check, chosen, compare, references
from seewhy.vlm.sampling import BatchSampler
from tiny import tiny_llava


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    return VisionLanguageModel.load(tiny_llava(tmp_path_factory.mktemp("base")), device="cpu")


def reference(vlm: VisionLanguageModel, text: str, ties: dict[int, str] | None = None) -> Reference:
    """Of a prompt with 30 tokens, 16 of them an image's; `ties` gives other tokens that would do at some places."""
    ids = answer_ids(vlm, text)
    also = {place: answer_ids(vlm, word)[0] for place, word in (ties or {}).items()}
    near = tuple(frozenset({token, also.get(place, token)}) for place, token in enumerate(ids))
    return Reference(Prompt("a", "a.png", "Name it."), text, 30, 16, tuple(ids), near)


@pytest.mark.parametrize(
    ("text", "tokens", "problem", "tied"),
    [
        ("a red crest", 30, None, False),
        ("a red crest", None, None, False),
        ("a red crest", 14, None, False),  # the image is not counted
        ("a red crest", 15, None, False),  # the image is one token
        ("a red crest", 31, "it counts 31 prompt tokens, where there are 30", False),
        ("a blue crest", 30, None, True),
        ("a blue bill and what follows", 30, None, True),
        ("a yellow crest", 30, "its greedy answer is another one", False),
        ("a red", 30, "its greedy answer is another one", False),
        ("a red crest and more", 30, "its greedy answer is another one", False),
        ("a </s> crest", 30, "its greedy answer is another one", False),
        ("", 30, "its greedy answer is another one", False),
    ],
)
def test_compare(vlm: VisionLanguageModel, text: str, tokens: int | None, problem: str | None, tied: bool):  # noqa: FBT001
    ours = "a red crest"
    at_red = next(
        i for i, (a, b) in enumerate(zip(answer_ids(vlm, ours), answer_ids(vlm, "a blue"), strict=False)) if a != b
    )
    blue = answer_ids(vlm, "a blue crest")[at_red]
    expected = reference(vlm, ours)
    ties = tuple(near | {blue} if place == at_red else near for place, near in enumerate(expected.ties))
    finding = compare(vlm, replace(expected, ties=ties), text, tokens)
    assert (finding.problem, finding.tied) == (problem, tied)


@pytest.mark.parametrize(("theirs", "same"), [("A crow.<image>", True), ("A crow.", True), ("A crow.</s>", False)])
def test_a_server_may_leave_special_tokens_out(vlm: VisionLanguageModel, theirs: str, same: bool):  # noqa: FBT001
    expected = Reference(Prompt("a", "", "Name it."), "A crow.<image>", 9, 0, (), ())
    assert (compare(vlm, expected, theirs, 9).problem is None) == same


def test_prompts_of_different_images_come_first():
    prompts = [Prompt(f"{image}/{number}", f"{image}.png", "?") for image in range(3) for number in range(4)]
    assert [p.id for p in chosen(prompts)] == ["0/0", "1/0", "2/0", "0/1", "0/2", "0/3", "1/1", "1/2"]
    assert chosen(prompts[:2]) == prompts[:2]


def test_references_are_the_greedy_answers_and_their_prompts_tokens(vlm: VisionLanguageModel, tmp_path: Path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    prompts = [Prompt("a", str(tmp_path / "red.png"), "Name it."), Prompt("b", "", "Say yes.")]
    sampler = BatchSampler(vlm, 4, open_image)
    found = references(sampler, prompts, 12)
    greedy = [text for (text,) in sampler.sample(prompts, Sampling(max_new_tokens=12), 0)]
    lengths = [encode(vlm, "Name it.", open_image(prompts[0].image)), encode(vlm, "Say yes.", None)]
    assert [one.text for one in found] == greedy
    assert [one.prompt_tokens for one in found] == [row["input_ids"].shape[1] for row in lengths]
    assert [one.image_tokens for one in found] == [16, 0]
    for one in found:
        if one.ids:
            assert one.ids == tuple(answer_ids(vlm, one.text))
            assert len(one.ties) == len(one.ids)
        assert compare(vlm, one, one.text, one.prompt_tokens).problem is None


@pytest.mark.parametrize(("dtype", "gap", "tied"), [
    (torch.float32, 0.0, True), (torch.float32, 1e-3, False), (torch.bfloat16, 0.1, True), (torch.bfloat16, 4.0, False),
])  # fmt: skip
def test_a_tie_is_what_the_dtype_cannot_tell_apart(
    vlm: VisionLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    gap: float,
    tied: bool,  # noqa: FBT001
):
    from types import SimpleNamespace

    from seewhy.vlm import parity

    logits = torch.zeros(1, 3, 400, dtype=dtype)
    logits[:, :, 7], logits[:, :, 9] = 10.0, 10.0 - gap
    fake = SimpleNamespace(model=lambda **_row: SimpleNamespace(logits=logits))
    monkeypatch.setattr(parity, "move", lambda row, _vlm: row)
    ties = parity._ties(fake, {"input_ids": torch.zeros(1, 3, dtype=torch.long)}, 2)  # pyright: ignore[reportArgumentType]
    assert ties == (frozenset({7, 9} if tied else {7}),) * 2


def test_a_difference_shows_both_texts_and_what_causes_it(vlm: VisionLanguageModel):
    expected = [reference(vlm, "a red crest"), reference(vlm, "a long tail")]
    answers: list[tuple[str, int | None]] = [("a red crest", 30), ("USER: a tail", 30)]
    with pytest.raises(SeeWhyError) as raised:
        check(vlm, "http://localhost:1/v1", expected, answers)
    for part in ("for 1 of 2 prompts", "'a long tail'", "'USER: a tail'", "template", "dtype", "another model"):
        assert part in str(raised.value)
    assert check(vlm, "http://localhost:1/v1", expected, [("a red crest", 30), ("a long tail", None)]) == 0
