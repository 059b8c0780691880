"""A run of two rounds on three classes, from the shipped base: what is exported and measured elsewhere in tests."""

from pathlib import Path

from seewhy.config import AugmentConfig
from seewhy.run import loop
from tiny_run import tiny_run

UNCHANGED = AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0)


def small_run(root: Path) -> Path:
    """The folder of the finished run; its data are `root/images` and `root/concepts.yaml`."""
    config = tiny_run(
        root,
        train=3,
        test=1,
        tokens=24,
        base="fieldguide",
        encoder="fieldguide",
        output=str(root / "birds"),
        rounds=2,
        controls=("nl",),
        model={"batch_size": 16},
        describe={"max_new_tokens": 16},
        synthesise={"answers_per_image": 3},
        tune={"learning_rate": 3e-3, "lora_alpha": 8, "lora_dropout": 0.0, "augment": UNCHANGED},
        sample={"queries_per_image": 2},
        evaluate={"bootstrap": 50, "consistency": False, "fluency": False},
    )
    loop.run(config)
    return root / "birds"
