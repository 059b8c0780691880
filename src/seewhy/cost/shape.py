"""The shape of a model: what its parts hold and how wide they are, read off it on torch's meta device."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from seewhy.config import TuneConfig
from seewhy.vlm.adapter import add_adapter, projector_names, train_in_full, vision_tower_of
from seewhy.vlm.four_bit import BITS
from seewhy.vlm.model import VisionLanguageModel


@dataclass(frozen=True)
class Shape:
    """Parameters of a model's parts, and what its tokens take."""

    decoder: int
    """Of the language model's layers: what every token is multiplied with."""
    head: int
    """Of the output head: what a token is multiplied with whose next one is asked for."""
    embeddings: int
    """Of the input embeddings, which multiply nothing; 0 where they are the head's."""
    tower: int
    """Of the vision tower without its mergers."""
    projector: int
    layers: int
    width: int
    attention: int
    """Width of the queries of all layers: heads * size of a head, summed."""
    keys: int
    """Width of keys and values of all layers, which a cache holds for each token."""
    vocabulary: int

    @classmethod
    def of(cls, vlm: VisionLanguageModel) -> "Shape":
        model: Any = vlm.model
        text = model.config.get_text_config()
        decoder, tower = model.get_decoder(), vision_tower_of(model)
        projectors = [model.get_submodule(name) for name in projector_names(model)]
        inside = {id(p) for part in projectors for p in part.parameters()}
        embedded, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return cls(
            decoder=_count(p for p in decoder.parameters() if p is not embedded),
            head=head.numel(),
            embeddings=0 if embedded is head else embedded.numel(),
            tower=_count(p for p in tower.parameters() if id(p) not in inside),
            projector=_count(p for part in projectors for p in part.parameters()),
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            attention=text.num_hidden_layers * text.num_attention_heads * size,
            keys=2 * text.num_hidden_layers * text.num_key_value_heads * size,
            vocabulary=text.vocab_size,
        )

    @property
    def total(self) -> int:
        return self.decoder + self.head + self.embeddings + self.tower + self.projector


@dataclass(frozen=True)
class Trained:
    """What tuning holds whatever the batch, in bytes."""

    parameters: int
    """Trained ones."""
    adapter: int
    """Those of them that stand beside the language model's layers and not in the model itself."""
    weights: float
    """Bytes of all weights: 4 a trained one; the others in the model's dtype, or 4.13 bits where they are folded."""

    @property
    def gradients(self) -> int:
        """4 bytes a trained parameter."""
        return 4 * self.parameters

    @property
    def optimizer(self) -> int:
        """AdamW's two moments: 8 bytes a trained parameter."""
        return 8 * self.parameters

    @property
    def fixed(self) -> float:
        return self.weights + self.gradients + self.optimizer


def ready(vlm: VisionLanguageModel, config: TuneConfig) -> nn.Module:
    """The model under its adapter, or to be trained in full, as learner.py makes it; on the meta device as well."""
    if config.method == "full":
        train_in_full(vlm.model, projector=config.projector, vision_tower=config.vision_tower)
        return vlm.model
    with torch.device(vlm.device):
        return add_adapter(
            vlm.model,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            dropout=config.lora_dropout,
            projector=config.projector,
            vision_tower=config.vision_tower,
        )


def trained(vlm: VisionLanguageModel, learner: nn.Module, config: TuneConfig) -> Trained:
    """Of a model that is `ready`."""
    parameters = dict(learner.named_parameters())
    folded = _folded(vlm) if config.method == "qlora" else set()
    held = (p.numel() * (BITS / 8 if id(p) in folded else p.element_size()) for p in parameters.values())
    adapter = _count(p for name, p in parameters.items() if p.requires_grad and "lora_" in name)
    return Trained(_count(p for p in parameters.values() if p.requires_grad), adapter, sum(held))


def _folded(vlm: VisionLanguageModel) -> set[int]:
    """Ids of the weights that four_bit.py folds."""
    linears = (module for module in vlm.model.get_decoder().modules() if type(module) is nn.Linear)
    return {id(module.weight) for module in linears if not module.weight.requires_grad}


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
