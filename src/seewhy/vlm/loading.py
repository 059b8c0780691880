"""Loading and saving a model: errors of libraries in plain words, gaps of old processors, and weights in 4 bits.

QLoRA (Dettmers et al., NeurIPS 2023) holds the language model's linear layers in NF4, with scales in 8 bits. Vision
tower, projector, embeddings and output head stay as they are: they are a small part, and the projector is trained in
full. peft's `prepare_model_for_kbit_training` is not needed: the adapter freezes the base, trained weights are float32
(adapter.py), norms compute in float32 in transformers, and checkpointing needs no gradient at its inputs (tuning.py).
A 4-bit model is only ever tuned: the adapter is merged into the 16- or 32-bit weights that it came from.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers import logging as transformers_logging

from seewhy.errors import SeeWhyError


@contextmanager
def loading(name: str, part: str) -> Iterator[None]:
    """Turn what libraries raise while they read `part` of a model into SeeWhyError. Running out of memory passes."""
    transformers_logging.disable_progress_bar()
    try:
        yield
    except (SeeWhyError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # tokenizers raises Exception itself, others whatever a broken file makes them do
        raise SeeWhyError(why_not_loaded(name, part, error)) from error


def model_source(name_or_path: str | Path) -> str:
    """Return the model's folder, or its name on the Hub. Raises SeeWhyError for a missing folder and for a file."""
    name = str(name_or_path)
    path = Path(name).expanduser()
    if path.is_file():
        kind = " It is for llama.cpp, and cannot be tuned." if path.suffix == ".gguf" else ""
        raise SeeWhyError(f"{name} is a file, not a model folder: give the folder that holds config.json.{kind}")
    is_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    if is_path and not path.is_dir():
        raise SeeWhyError(f"There is no model folder {name}. Check model.name_or_path.")
    return str(path) if name.startswith("~") else name


def load_processor(name: str, source: Mapping[str, Any], *, tiles: bool) -> Any:
    """Return a model's processor. Raises SeeWhyError where there is none, or it is not one that can leave out tiles."""
    with loading(name, "its processor or tokenizer"):
        processor: Any = AutoProcessor.from_pretrained(name, **source)
    if not tiles:
        if getattr(processor.image_processor, "do_image_splitting", None) is None:
            raise SeeWhyError(
                f"model.tiles is false, but {name} has no choice of tiles, as a SmolVLM has: leave it out. "
                "model.max_pixels makes images smaller for any model."
            )
        processor.image_processor.do_image_splitting = False
    return processor


def refuse_kernels(name: str, config: PreTrainedConfig, *, allowed: bool) -> None:
    """Raise SeeWhyError where a configuration asks for attention from a repository on the Hub, which is code."""
    parts = [config, *(getattr(config, key) for key in config.sub_configs)]
    wanted = [kind for part in parts if "/" in str(kind := getattr(part, "_attn_implementation", None))]
    if wanted and not allowed:
        raise SeeWhyError(
            f"Model {name} asks for code from the Hub ({wanted[0]}, attn_implementation in its config.json): take that "
            "out, or read the code, then set model.trust_remote_code to true."
        )


def why_not_loaded(name: str, part: str, error: Exception) -> str:
    """Explain an error of transformers, safetensors, tokenizers or huggingface_hub in a sentence or two."""
    text = " ".join(str(error).split())
    if "torchvision" in text.lower():  # processors that could take videos, and some images in tiles
        return f"The processor of model {name} needs torchvision, which is not installed: pip install torchvision."
    if isinstance(error, ModuleNotFoundError) and "Could not import module" in text:
        return f"transformers could not be imported whole; `seewhy doctor` says which package is broken. ({text[:300]})"
    if isinstance(error, ImportError):
        return f"Model {name} needs a package that is not installed. ({text[:300]})"
    if "does not appear to have a file named" in text and "safetensors" in text:
        return (
            f"Model {name} has no safetensors weights, the only ones that are read (pickled ones can run code). Look "
            f"for a revision that has them, or write them with save_pretrained() where you trust the file. ({text})"
        )
    if "does not recognize this architecture" in text:
        return (
            f"The installed transformers does not know the architecture of model {name}: upgrade it (pip install -U "
            f"transformers), or, if the model runs code of its own, set model.trust_remote_code. ({text[:200]})"
        )
    if "Unrecognized configuration class" in text or "Unrecognized model" in text:
        return f"Model {name} is not an image-text-to-text model that transformers knows. ({text[:300]})"
    if "trust_remote_code" in text:
        return f"Model {name} runs code of its own: read it, then set model.trust_remote_code to true. ({text[:300]})"
    if not Path(name).is_dir() and (hub_error := _hub_error(name, error)):
        return hub_error
    said = text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"
    where = "Check its files" if Path(name).is_dir() else "Check model.name_or_path and model.revision"
    return f"Model {name} could not be loaded: {part} cannot be read. {where}, or download it again. ({said[:500]})"


def _hub_error(name: str, error: Exception) -> str | None:
    """Explain an error of the Hub or of the connection to it; None for any other."""
    text = " ".join(str(error).split())
    low = text.lower()

    def is_about(kinds: tuple[type[Exception], ...], *words: str) -> bool:
        return any(isinstance(one, kinds) for one in _chain(error)) or any(word in low for word in words)

    if is_about((GatedRepoError,), "gated repo"):
        return (
            f"Model {name} is open only to those who have accepted its terms: accept them at "
            f"https://huggingface.co/{name}, then log in here with `hf auth login`. ({text[:200]})"
        )
    if is_about((RevisionNotFoundError,), "is not a valid git identifier"):
        return f"Model {name} has no such revision: correct model.revision. ({text[:200]})"
    unreachable = ("offline", "couldn't connect", "name or service not known", "timed out", "locate the file")
    if is_about((LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError), *unreachable):
        return (
            f"Model {name} is not on this machine and the Hub cannot be reached. Put its config.json, tokenizer and "
            f"processor files, chat template and (to run it) *.safetensors into a folder, and set model.name_or_path "
            f"to that; or fill the cache with `hf download {name}` where there is a connection. ({text[:200]})"
        )
    if is_about((RepositoryNotFoundError, HFValidationError), "is not a valid model identifier", "repo id must"):
        return (
            f"There is no model {name} on the Hub, nor a folder of that name here: correct model.name_or_path. If it "
            f"is private, log in with `hf auth login`. ({text[:200]})"
        )
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


OWN_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0, "efficientnet": 0, "fast_vlm": 0}
"""Tokens that a vision tower adds to its patches (CLIP: the class token), by the model_type of tower or model."""
NEEDED = ("patch_size", "vision_feature_select_strategy")


def fill_gaps(name: str, model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Fill in what processors saved by older versions of transformers lack, from the model's configuration.

    They counted an image's tokens in the model; newer ones need the patch size, which features are taken, and whether
    the vision tower adds a token of its own. Raises SeeWhyError where the configuration does not say it either.
    """
    held: dict[str, Any] = vars(processor)
    lacking = [key for key in NEEDED if key in held and held[key] is None]
    tower = getattr(model.config, "vision_config", None)
    kind = next((kind for config in (tower, model.config) if (kind := _kind(config)) in OWN_TOKENS), None)
    if "num_additional_image_tokens" in held and not held["num_additional_image_tokens"]:
        if kind is not None:
            held["num_additional_image_tokens"] = OWN_TOKENS[kind]
        elif lacking:
            lacking.append("num_additional_image_tokens")
    known = {
        "patch_size": _stride(tower) if _kind(tower) == "efficientnet" else getattr(tower, "patch_size", None),
        "vision_feature_select_strategy": getattr(model.config, "vision_feature_select_strategy", None),
    }
    for key in lacking:
        if known.get(key) is None:
            raise SeeWhyError(
                f"The processor of model {name} lacks {key}, so the tokens of an image cannot be counted, and "
                f"config.json does not say it: set it in processor_config.json."
            )
        held[key] = known[key]


def _kind(config: Any) -> str | None:
    return getattr(config, "model_type", None)


def _stride(tower: Any) -> int:
    """Return how many pixels, along a side, become one feature of an EfficientNet: the stem halves them once more."""
    return 2 * math.prod(tower.strides)


BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits a weight in NF4: its code, an 8-bit scale for 64 of them, and a float32 scale for 256 of those."""


def four_bit_config(
    name: str, config: PreTrainedConfig, device: str, dtype: torch.dtype, *, trust_remote_code: bool
) -> dict[str, Any]:
    """Return arguments of `from_pretrained` that hold the language model's linear layers in 4 bits on `device`.

    Raises SeeWhyError where bitsandbytes is not installed or does not work here.
    """
    try:
        import bitsandbytes  # pyright: ignore[reportMissingImports]  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise SeeWhyError(
            f"tune.method: qlora needs bitsandbytes: pip install 'seewhy[qlora]', or set tune.method to lora. ({error})"
        ) from error
    with loading(name, "its configuration"), torch.device("meta"):
        outline = AutoModelForImageTextToText.from_config(config, trust_remote_code=trust_remote_code)
    adapted = {id(module) for module in outline.get_decoder().modules()}
    linears = [(name, module) for name, module in outline.named_modules() if type(module) is nn.Linear]
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=[name for name, module in linears if id(module) not in adapted],
    )
    return {"quantization_config": quantization, "device_map": {"": device}}


def is_four_bit(module: nn.Module) -> bool:
    """Return whether a layer holds its weights in 4 bits."""
    return type(module).__name__ == "Linear4bit"


def evaluation_mode(model: nn.Module) -> None:
    """Put a model that is being tuned into evaluation mode: dropout is off and statistics stay.

    Layers in 4 bits are left in training mode, which for them means no more than that: in evaluation mode bitsandbytes
    repacks their weights on a CPU, and no gradient passes them any more.
    """
    model.eval()
    for module in filter(is_four_bit, model.modules()):
        module.training = True


TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def saveable(config: GenerationConfig) -> GenerationConfig:
    """Return the generation config, or its tokens alone where transformers refuses to write it.

    Many ask for a temperature but not to sample. No answer here depends on more than the tokens.
    """
    try:
        config.validate(strict=True)
    except ValueError:
        return GenerationConfig(**{name: getattr(config, name) for name in TOKENS})
    return config


def check_saveable(name: str, model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Try to save all but the weights, before any tuning. Raises SeeWhyError for what a library refuses to write."""
    with tempfile.TemporaryDirectory(prefix="seewhy-") as folder:
        try:
            model.save_pretrained(folder, state_dict={})
            processor.save_pretrained(folder)
        except (ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:
            files = ", ".join(sorted(path.name for path in Path(name).glob("*.json"))) or "its files on the Hub"
            raise SeeWhyError(
                f"Model {name} cannot be tuned: what is not weights could not be saved afterwards "
                f"({type(error).__name__}: {' '.join(str(error).split())[:500]}). Mend what this names in {files}."
            ) from error
