"""Model folders in which something is broken: each is refused in our words, with the file and what to do about it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from seewhy.errors import SeeWhyError
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 4921\n"
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda whole: whole[: len(whole) // 2],
    "empty": lambda whole: b"",
    "bytes": lambda whole: bytes(range(256)) * 4,
    "a page": lambda whole: b"<!DOCTYPE html><html><body>Not found</body></html>",
    "a pointer": lambda whole: POINTER,
    "a list": lambda whole: b"[]",
    "null": lambda whole: b"null",
}
FILES = (
    "config.json", "generation_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    "model.safetensors", "shard", "model.safetensors.index.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("whole") / "base")


@pytest.fixture(scope="module")
def sharded(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded") / "base"
    vlm = VisionLanguageModel.load(whole, device="cpu")
    vlm.model.save_pretrained(folder, max_shard_size="60KB")
    vlm.processor.save_pretrained(folder)
    return folder


@pytest.fixture
def base(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "base")


def shard_of(folder: Path) -> Path:
    return sorted(folder.glob("model-0*.safetensors"))[1]


def load(folder: Path | str) -> VisionLanguageModel:
    return VisionLanguageModel.load(folder, device="cpu")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", FILES)
def test_a_broken_file_is_named_with_what_it_is_and_how_to_get_it_again(
    whole: Path, sharded: Path, tmp_path: Path, file: str, way: str
):
    in_shards = file in ("shard", "model.safetensors.index.json")
    folder = shutil.copytree(sharded if in_shards else whole, tmp_path / "base")
    path = shard_of(folder) if file == "shard" else folder / file
    path.write_bytes(WAYS[way](path.read_bytes()))
    with pytest.raises(SeeWhyError) as error:
        load(folder)
    said = str(error.value)
    assert said.startswith(f"{path} ")
    assert f"hf download OWNER/NAME {path.name} --local-dir" in said
    if way == "a pointer":
        assert "is a Git-LFS pointer, not the file of 4921 bytes" in said
        assert "git lfs pull" in said
    if way == "empty":
        assert "is empty" in said
    if way == "a page":
        assert "is a web page" in said
    if way == "half" and path.suffix == ".safetensors":
        assert "is cut off: it has" in said


@pytest.mark.parametrize("file", FILES[:6])
def test_a_file_that_is_not_there(base: Path, file: str):
    (base / file).unlink()
    if file == "generation_config.json":
        assert load(base).stop_token_ids
        return
    problem = {
        "config.json": r"There is no config\.json in .*base",
        "processor_config.json": "neither processor_config.json nor preprocessor_config.json.*text alone, or not whole",
        "tokenizer.json": "its processor or tokenizer cannot be read",
        "tokenizer_config.json": "no end-of-sequence token",
        "model.safetensors": r"no safetensors weights \(model.safetensors\). Get it again",
    }[file]
    with pytest.raises(SeeWhyError, match=problem):
        load(base)


def test_a_missing_shard_is_missing_and_not_unsafe(sharded: Path, tmp_path: Path):
    folder = shutil.copytree(sharded, tmp_path / "base")
    gone = shard_of(folder)
    gone.unlink()
    count = len(list(sharded.glob("model-0*")))
    with pytest.raises(
        SeeWhyError, match=f"{gone.name} is missing: 1 of the {count} weight files that .*index"
    ) as said:
        load(folder)
    assert "pickled" not in str(said.value)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(SeeWhyError, match=r"has model-00001.*and neither model\.safetensors nor .*index.json"):
        load(folder)


def test_weights_that_lack_tensors_are_not_filled_with_random_numbers(base: Path):
    path = base / "model.safetensors"
    weights = load_file(path)
    gone = next(name for name in weights if "multi_modal_projector" in name)
    del weights[gone]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(SeeWhyError, match=r"lack 1 tensors \(.*multi_modal_projector.*\), which would be random"):
        load(base)


def test_weights_of_another_shape(base: Path):
    path = base / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "multi_modal_projector" in name)
    save_file({**weights, name: torch.zeros(3, 3)}, path, metadata={"format": "pt"})
    with pytest.raises(SeeWhyError, match="its weights cannot be read"):
        load(base)


@pytest.mark.parametrize("beside", [True, False])
def test_an_adapter_is_no_model(base: Path, beside: bool):  # noqa: FBT001
    if not beside:
        for path in base.iterdir():
            path.unlink()
    (base / "adapter_config.json").write_text('{"base_model_name_or_path": "llava-hf/llava-1.5-7b-hf"}')
    with pytest.raises(SeeWhyError, match=r"holds an adapter .* on llava-hf/llava-1.5-7b-hf, .*merge_and_unload\(\)"):
        load(base)


def test_gguf_pickled_and_nested_models(base: Path, tmp_path: Path):
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(SeeWhyError, match=r"no safetensors weights.*pytorch_model.bin is pickled"):
        load(base)
    (base / "pytorch_model.bin").rename(base / "llava-q4.gguf")
    with pytest.raises(
        SeeWhyError, match=r"llava-q4.gguf is for llama.cpp, and cannot be tuned: give the model of tra"
    ):
        load(base)
    with pytest.raises(SeeWhyError, match=r"is a file, not a model folder.*llama.cpp"):
        load(base / "llava-q4.gguf")
    with pytest.raises(SeeWhyError, match=rf"There is one in {tmp_path}/base: give that folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_type": "glimmer9"}, "transformers does not know the architecture of model .*: upgrade it"),
        ({"vision_config": "large"}, "its configuration cannot be read"),
        ({"text_config": {"model_type": "llama", "hidden_size": "wide"}}, "its (configuration|weights) cannot be read"),
    ],
)
def test_a_configuration_that_says_nonsense(base: Path, change: dict[str, object], problem: str):
    path = base / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(SeeWhyError, match=problem):
        load(base)


@pytest.mark.parametrize(
    ("file", "text"), [("tokenizer.json", "{}"), ("tokenizer.json", '{"model": {"type": "BPE"}, "added_tokens": []}')]
)
def test_valid_json_that_is_no_tokenizer(base: Path, file: str, text: str):
    (base / file).write_text(text)
    with pytest.raises(SeeWhyError, match=r"its processor or tokenizer cannot be read\. Check its files"):
        load(base)


def refused(kind: type[Exception]) -> Exception:
    response = httpx.Response(404, request=httpx.Request("GET", "https://huggingface.co/some/model"))
    if kind is LocalEntryNotFoundError:
        return LocalEntryNotFoundError("Cannot find the requested files in the disk cache; cannot reach the Hub")
    words = {GatedRepoError: "Cannot access gated repo: 403", RepositoryNotFoundError: "404 Repository Not Found"}
    return kind(words[kind], response=response)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (refused(RepositoryNotFoundError), "There is no model some/model on the Hub.*hf auth login"),
        (refused(GatedRepoError), "accept them at https://huggingface.co/some/model, then log in"),
        (refused(LocalEntryNotFoundError), "the Hub cannot be reached.*hf download some/model"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "the Hub cannot be reached"),
        (httpx.ReadTimeout("The read operation timed out"), "the Hub cannot be reached"),
        (OSError("v9 is not a valid git identifier (branch name)"), "no such revision: correct model.revision"),
        (KeyError("size"), r"its .* cannot be read. Check model.name_or_path and model.revision.*KeyError: 'size'"),
        (Exception("data did not match any variant of untagged enum ModelWrapper"), "untagged enum ModelWrapper"),
    ],
)
@pytest.mark.parametrize("part", [AutoConfig, AutoModelForImageTextToText, AutoProcessor])
def test_what_the_hub_or_a_library_says_is_told_with_a_remedy(
    whole: Path, monkeypatch: pytest.MonkeyPatch, part: type, error: Exception, problem: str
):
    for other in (AutoConfig, AutoModelForImageTextToText, AutoProcessor):
        own = other.from_pretrained

        def fails(name: str, *args: object, other=other, own=own, **named: object) -> object:
            if other is part:
                raise error
            return own(whole, *args, **named)

        monkeypatch.setattr(other, "from_pretrained", fails)
    with pytest.raises(SeeWhyError, match=problem):
        load("some/model")


def test_a_relative_path_that_is_no_name_on_the_hub():
    with pytest.raises(SeeWhyError, match="There is no model folder runs/birds/model"):
        load("runs/birds/model")


def test_running_out_of_memory_stays_what_it_is(whole: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_args: object, **_named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", fails)
    with pytest.raises(torch.OutOfMemoryError):
        load(whole)
