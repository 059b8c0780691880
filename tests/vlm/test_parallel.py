"""Shared rows under the wrappers that accelerate puts around a model on several devices: two processes, on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import distributed, nn

import torchvision_ops  # noqa: F401 -- as in conftest, for the processes that this file is imported in
from seewhy.vlm.adapter import add_adapter
from seewhy.vlm.chat import IGNORED, Row, collate, encode_all, with_answer
from seewhy.vlm.loss import answer_loss
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import branch_attention, share
from tiny import tiny_llava

WORLD = 2
QUERIES = ("Name it.", "Which bird is it, and why?", "Describe the bird.")
ANSWERS = ("A Fish Crow.", "A red crest, so a Fish Crow.", "It has a long tail.")


def adapted(folder: Path) -> tuple[VisionLanguageModel, Any]:
    torch.manual_seed(0)
    vlm = VisionLanguageModel.load(str(folder), device="cpu")
    model = add_adapter(vlm.model, rank=4, alpha=8, dropout=0.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    return vlm, model.train()


def batches(vlm: VisionLanguageModel) -> list[Row]:
    """A batch a process: one image with three turns, another one with two."""
    found = []
    for colour, turns in (("red", 3), ("blue", 2)):
        prompts = encode_all(vlm, QUERIES[:turns], Image.new("RGB", (32, 32), colour))
        rows = [with_answer(vlm, prompt, answer) for prompt, answer in zip(prompts, ANSWERS, strict=False)]
        found.append(collate(share(rows, vlm), vlm.pad_token_id, "right"))
    return found


def labelled(batch: Row) -> int:
    return int((batch["labels"] != IGNORED).sum())


def step(vlm: VisionLanguageModel, model: Any, batch: Row, tokens: float) -> None:
    with branch_attention(vlm.model):
        answer_loss(model, batch, tokens).backward()  # pyright: ignore[reportArgumentType]


def in_ddp(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)


def in_fsdp(model: nn.Module) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model)  # pyright: ignore[reportReturnType]


def process(rank: int, folder: Path, wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD)
    vlm, model = adapted(folder / "model")
    both = batches(vlm)
    step(vlm, wrap(model), both[rank], sum(map(labelled, both)) / WORLD)  # gradients are averaged over processes
    gradients = {
        name.removeprefix("module."): getattr(p.grad, "full_tensor", lambda g=p.grad: g)()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    if rank == 0:
        torch.save(gradients, folder / "gradients.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [in_ddp, in_fsdp])
def test_gradients_over_processes_are_those_of_one(tmp_path: Path, wrap: Callable[[nn.Module], nn.Module]):
    tiny_llava(tmp_path / "model")
    vlm, model = adapted(tmp_path / "model")
    both = batches(vlm)
    for batch in both:
        step(vlm, model, batch, sum(map(labelled, both)))
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    torch.multiprocessing.spawn(process, (tmp_path, wrap), nprocs=WORLD)  # pyright: ignore[reportPrivateImportUsage]
    found = torch.load(tmp_path / "gradients.pt")
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7, msg=f"gradient of {name}")
