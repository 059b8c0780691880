"""Named sets of defaults: `preset: ours` or `preset: paper` in a YAML file, or `--preset paper`.

A preset says what a setting is that neither the file nor the command line gives; it never overrides one that is given.
'ours' is what `config.py` shows. 'paper' is Shi et al. (ICLR 2025) as far as the text goes, and their research code
(SelfSynthX) where the text is silent; docs/method.md restates both, docs/paper_map.md lists what still differs.

    paper = settings.preset_config("paper")     # a RunConfig
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DEFAULT_PRESET = "ours"

PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "rounds": 4,
        "start_from": "previous",
        "keep_going": True,
        "describe.prompts_per_image": 3,
        "describe.samples_per_prompt": 10,
        "describe.temperature": 1.0,
        "describe.top_p": 1.0,
        "describe.max_new_tokens": 256,
        "select.encoder": "intfloat/e5-large",
        "select.prefixes": False,
        "select.temperature": 0.1,
        "select.rule": "image",
        "select.threshold_std": 0.4,
        "select.minimum": 3,
        "synthesise.answers_per_image": 8,
        "synthesise.simple_share": 0.4,
        "synthesise.explain_share": 0.32,
        "synthesise.temperature": 0.3,
        "synthesise.top_p": 1.0,
        "synthesise.max_new_tokens": 128,
        "synthesise.tries": 1,
        "synthesise.require_listed": False,
        "tune.method": "lora",
        "tune.epochs": 2,
        "tune.learning_rate": 1e-5,
        "tune.schedule": "linear",
        "tune.warmup": 0.05,
        "tune.weight_decay": 0.0,
        "tune.batch_size": 32,
        "tune.lora_rank": 128,
        "tune.lora_alpha": 256,
        "tune.lora_dropout": 0.05,
        "tune.projector": "full",
        "tune.vision_tower": "frozen",
        "tune.loss_per": "token",
        "tune.replay_ratio": 1.0,
        "tune.augment.at_most": 4,
        "tune.augment.flip": 0.5,
        "tune.augment.upside_down": 0.3,
        "tune.augment.rotate": 30.0,
        "tune.augment.rotate_share": 0.7,
        "tune.augment.affine": 0.5,
        "tune.augment.affine_turn": 20.0,
        "tune.augment.affine_shift": 0.1,
        "tune.augment.affine_zoom": 0.2,
        "tune.augment.colour": 0.4,
        "tune.augment.colour_share": 0.7,
        "tune.augment.blur": 0.4,
        "tune.augment.perspective": 0.5,
        "tune.augment.perspective_share": 0.6,
        "sample.queries_per_image": 8,
        "sample.samples_per_query": 3,
        "sample.temperature": 0.7,
        "sample.top_p": 0.6,
        "sample.max_new_tokens": 196,
        "sample.negatives": "per_class",
        "sample.label_first": False,
        "sample.prefer_listed": False,
        "sample.require_listed": False,
        "evaluate.max_new_tokens": 256,
    }
)
"""Everything that the paper or its code decides, even where our default is the same."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType({"ours": MappingProxyType({}), "paper": PAPER})
"""Name -> dotted setting -> value, where it is not the default of `config.py`."""
