"""Interpolation of weights after tuning: a round keeps a share of its change, and so more of what the model could do.

The weights become `start + share * (tuned - start)`, on the line between the model that the round began with and the
tuned one. This is WiSE-FT (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022) for whatever is
trained: of an adapter the second matrix of each layer is scaled, which scales the layer's change, and of the parts
beside it that are trained in full, as of a model without an adapter, each weight is interpolated. Buffers, such as the
statistics of batch normalisation, do not change in tuning and are left as they are.
"""

from collections.abc import Iterable

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper
from torch import nn

ADAPTER = "default"
"""peft's name for the one adapter."""


@torch.no_grad()
def interpolate_adapter(adapted: PeftModel, share: float) -> None:
    """Scale the change that an adapter makes, and that of the modules trained beside it, in place.

    `share` is above 0 and below 1.
    """
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            for weight in module.lora_B[ADAPTER].parameters():
                weight.mul_(share)
        elif isinstance(module, ModulesToSaveWrapper):
            tuned, start = module.modules_to_save[ADAPTER], module.original_module
            interpolate(tuned.parameters(), start.parameters(), share)


@torch.no_grad()
def interpolate(tuned: Iterable[nn.Parameter], start: Iterable[nn.Parameter], share: float) -> None:
    """Interpolate float32 weights, in place, from those at the start, which may have another dtype or device.

    Both are the parameters of one architecture, in order; raises ValueError where one has more than the other.
    """
    for weight, before in zip(tuned, start, strict=True):
        weight.lerp_(before.to(weight), 1 - share)
