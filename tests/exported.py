"""A run of two rounds on three classes, from the shipped base: what is exported and measured elsewhere in tests."""

from pathlib import Path

from fixtures_data import image_folder
from seewhy.config import (
    AugmentConfig,
    DataConfig,
    DescribeConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    SelectConfig,
    SynthesiseConfig,
    TuneConfig,
)
from seewhy.run import loop


def small_run(root: Path) -> Path:
    """The folder of the finished run; its data are `root/images` and `root/concepts.yaml`."""
    image_folder(root, train=3, test=1)
    config = RunConfig(
        output=str(root / "birds"),
        rounds=2,
        minimum_support=0.0,  # random weights say nothing
        controls=("nl",),
        data=DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"), noun="bird"),
        model=ModelConfig(name_or_path="fieldguide", device="cpu", batch_size=16),
        describe=DescribeConfig(prompts_per_image=1, samples_per_prompt=2, max_new_tokens=16),
        select=SelectConfig(encoder="fieldguide"),
        synthesise=SynthesiseConfig(answers_per_image=3, max_new_tokens=24),
        tune=TuneConfig(
            epochs=1, learning_rate=3e-3, batch_size=4, micro_batch_size=4, lora_rank=4, lora_alpha=8,
            lora_dropout=0.0, augment=AugmentConfig(flip=0, rotate=0, colour=0, blur=0, perspective=0),
        ),
        sample=SampleConfig(queries_per_image=2, samples_per_query=2, max_new_tokens=24),
        evaluate=EvaluateConfig(max_new_tokens=24, bootstrap=50, consistency=False, fluency=False),
    )  # fmt: skip
    loop.run(config)
    return root / "birds"
