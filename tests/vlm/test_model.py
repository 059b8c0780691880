import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from transformers import AutoProcessor, LlamaConfig, LlamaForCausalLM

from seewhy.errors import SeeWhyError
from seewhy.vlm.adapter import projector_names, vision_tower_of
from seewhy.vlm.model import VisionLanguageModel
from tiny import tiny_llava


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_llava(tmp_path / "base")


def test_loads_and_saves_without_torchvision(base: Path, tmp_path: Path):
    vlm = VisionLanguageModel.load(base, device="cpu")
    assert vlm.model.dtype == torch.float32
    assert not vlm.model.training
    vlm.save(tmp_path / "again")
    again = VisionLanguageModel.load(tmp_path / "again", device="cpu")
    for name, weight in vlm.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
    assert again.processor.chat_template == vlm.processor.chat_template


def test_dtype(base: Path):
    assert VisionLanguageModel.load(base, device="cpu", dtype="bfloat16").model.dtype == torch.bfloat16


def test_parts_are_found(base: Path):
    model = VisionLanguageModel.load(base, device="cpu").model
    assert projector_names(model) == ["model.multi_modal_projector"]
    assert vision_tower_of(model) is model.model.vision_tower


def test_missing_folder(tmp_path: Path):
    with pytest.raises(SeeWhyError, match=r"There is no model folder .*nowhere"):
        VisionLanguageModel.load(tmp_path / "nowhere")


def test_folder_without_a_model(tmp_path: Path):
    with pytest.raises(SeeWhyError, match=r"could not be loaded|not an image-text"):
        VisionLanguageModel.load(tmp_path)


def test_no_chat_template(base: Path):
    (base / "chat_template.jinja").unlink()
    with pytest.raises(SeeWhyError, match="has no chat template"):
        VisionLanguageModel.load(base, device="cpu")


def test_chat_template_without_image(base: Path):
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}")
    with pytest.raises(SeeWhyError, match=r"leaves the image out|takes no image"):
        VisionLanguageModel.load(base, device="cpu")


def test_text_model(base: Path):
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    for path in base.glob("model*"):
        path.unlink()
    LlamaForCausalLM(config).save_pretrained(base)
    with pytest.raises(SeeWhyError, match="not an image-text-to-text model"):
        VisionLanguageModel.load(base, device="cpu")


def test_weights_that_are_not_safetensors(base: Path):
    weights = VisionLanguageModel.load(base, device="cpu").model.state_dict()
    (base / "model.safetensors").unlink()
    torch.save(weights, base / "pytorch_model.bin")
    with pytest.raises(SeeWhyError, match="no safetensors weights"):
        VisionLanguageModel.load(base, device="cpu")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Qwen2VLVideoProcessor requires the Torchvision library", "needs torchvision, which is not installed"),
        ("Package `num2words` is required", r"needs a package that is not installed. \(Package `num2words`"),
    ],
)
def test_a_missing_package_is_named(base: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str):
    monkeypatch.setattr(AutoProcessor, "from_pretrained", Mock(side_effect=ImportError(said)))
    with pytest.raises(SeeWhyError, match=message):
        VisionLanguageModel.load(base, device="cpu")


def test_remote_code_is_asked_for(base: Path):
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(
        json.dumps({**config, "model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}})
    )
    with pytest.raises(SeeWhyError, match=r"set model.trust_remote_code to true"):
        VisionLanguageModel.load(base, device="cpu")


def test_no_image_token(base: Path):
    vlm = VisionLanguageModel.load(base, device="cpu")
    vlm.model.config.image_token_id = None
    with pytest.raises(SeeWhyError, match=r"has no image token \(image_token_id\) in its config.json"):
        vlm._check_processor()


def test_no_pad_token(base: Path):
    """Padding is masked, so the token that ends an answer stands in for it."""
    path = base / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["pad_token"]
    path.write_text(json.dumps(settings))
    vlm = VisionLanguageModel.load(base, device="cpu")
    assert vlm.tokenizer.pad_token_id is None
    assert vlm.pad_token_id == vlm.end_token_id


def test_a_tokenizer_without_an_end(base: Path):
    path = base / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["eos_token"]
    path.write_text(json.dumps(settings))
    with pytest.raises(SeeWhyError, match="no end-of-sequence token: set eos_token"):
        VisionLanguageModel.load(base, device="cpu")


@pytest.mark.parametrize(
    ("after", "end"),
    [
        ("{{ eos_token }}", "</s>"),
        ("", "</s>"),  # LLaVA-1.5's writes nothing
        (" <pad>\n", "<pad>"),
        ("\nUSER:", "</s>"),  # plain text ends nothing
    ],
)
def test_an_answer_ends_as_the_template_ends_it(base: Path, after: str, end: str):
    path = base / "chat_template.jinja"
    path.write_text(path.read_text().replace("{% else %}{{ eos_token }}", "{% else %}" + after))
    vlm = VisionLanguageModel.load(base, device="cpu")
    assert vlm.tokenizer.convert_ids_to_tokens(vlm.end_token_id) == end
    assert vlm.stop_token_ids[0] == vlm.end_token_id
    assert vlm.tokenizer.eos_token_id in vlm.stop_token_ids


def test_an_outline_has_the_shape_and_no_weights(base: Path):
    (base / "model.safetensors").unlink()
    vlm = VisionLanguageModel.outline(base, dtype=torch.bfloat16)
    assert {parameter.device.type for parameter in vlm.model.parameters()} == {"meta"}
    assert vlm.model.dtype == torch.bfloat16
    assert "ASSISTANT:" in vlm.render("?", image=True)


def test_a_model_of_the_hub_that_is_not_here(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SeeWhyError, match=r"Put its config.json, tokenizer and processor files, chat template"):
        VisionLanguageModel.outline("nobody/no-such-model", dtype=torch.float32)
