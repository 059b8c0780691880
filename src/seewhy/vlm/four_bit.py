"""A language model whose linear layers are held in four bits, to be tuned by an adapter (QLoRA).

Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", NeurIPS 2023: weights in NF4 (the quantiles of a
normal distribution, 64 of them to a scale), the scales themselves in 8 bits; each is unfolded into the model's dtype
where it is multiplied. Vision tower, projector, embeddings and output head stay as they are: they are a small part, and
the projector is trained in full.

What peft's `prepare_model_for_kbit_training` does is done elsewhere: the base is frozen by the adapter, trained weights
are float32 (adapter.py), norms compute in float32 in transformers, and gradient checkpointing is the kind that needs no
gradient at its inputs (tuning.py).

A 4-bit model is only ever tuned. The adapter is merged into the 16- or 32-bit weights it came from (learner.py): the
next round and all sampling then have a model with no rounding but its dtype's. The price is that the adapter was fitted
to rounded weights; QLoRA found the difference small.
"""

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from seewhy.errors import SeeWhyError

BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Bits a weight: its code, its share of an 8-bit scale of 64, and of that scale's own, one of 256, in float32."""


def bitsandbytes() -> Any:
    """The library's layers. Raises SeeWhyError where it is not installed or does not work here."""
    try:
        from bitsandbytes import nn as layers  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError, OSError) as error:
        raise SeeWhyError(
            f"tune.method: qlora needs bitsandbytes: pip install 'seewhy[qlora]', or set tune.method to lora. ({error})"
        ) from error
    return layers


def quantise(model: PreTrainedModel, device: str) -> None:
    """Puts 4-bit layers on `device` in place of the linear layers of the language model, one after the other."""
    layers, decoder = bitsandbytes(), model.get_decoder()
    for name, linear in [(n, m) for n, m in decoder.named_modules() if type(m) is nn.Linear]:
        folded = layers.Linear4bit(
            linear.in_features, linear.out_features, bias=linear.bias is not None, compute_dtype=linear.weight.dtype,
            compress_statistics=True, quant_type="nf4", device="meta",
        )  # fmt: skip
        folded.weight = layers.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True, module=folded
        )
        folded.bias = linear.bias
        decoder.set_submodule(name, folded.to(device))
    model.is_loaded_in_4bit = True  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]


def is_four_bit(module: nn.Module) -> bool:
    """Whether a layer is one of `quantise`."""
    return type(module).__name__ == "Linear4bit"
