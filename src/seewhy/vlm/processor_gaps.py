"""Settings that processors saved by older versions of transformers lack, and that the model's configuration holds.

LLaVA's processors counted an image's tokens in the model once; since they count themselves they need the patch size,
which features are taken, and whether the vision tower adds a token of its own.
"""

from typing import Any

from transformers import PreTrainedModel, ProcessorMixin

from seewhy.errors import SeeWhyError

OWN_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Tokens that a vision tower adds to its patches, by model_type (CLIP: the class token)."""
NEEDED = ("patch_size", "vision_feature_select_strategy")


def fill_gaps(name: str, model: PreTrainedModel, processor: ProcessorMixin) -> None:
    """Fill in what the processor lacks and the configuration says. Raises SeeWhyError where it does not say."""
    held: dict[str, Any] = vars(processor)
    lacking = [key for key in NEEDED if key in held and held[key] is None]
    tower = getattr(model.config, "vision_config", None)
    kind = getattr(tower, "model_type", None)
    if "num_additional_image_tokens" in held and not held["num_additional_image_tokens"]:
        if kind in OWN_TOKENS:
            held["num_additional_image_tokens"] = OWN_TOKENS[kind]
        elif lacking:
            lacking.append("num_additional_image_tokens")
    told = {
        "patch_size": getattr(tower, "patch_size", None),
        "vision_feature_select_strategy": getattr(model.config, "vision_feature_select_strategy", None),
    }
    for key in lacking:
        if told.get(key) is None:
            raise SeeWhyError(
                f"The processor of model {name} lacks {key}, so the tokens of an image cannot be counted, and "
                f"config.json does not say it: set it in processor_config.json."
            )
        held[key] = told[key]
