"""What the scripts that make base models share: rows of tokens behind one image, the loss of answers, and steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import FastVlmForConditionalGeneration, LlavaForConditionalGeneration

from seewhy.vlm.chat import PADDING
from seewhy.vlm.prefix import branch_mask


@dataclass(frozen=True)
class Said:
    """One question and the answer that the base should learn to give."""

    query: str
    answer: str


@dataclass
class Batch:
    """Rows `[prefix][branch 1]...[branch Q]`, padded on the right; labels are -100 but on answers."""

    ids_BT: torch.Tensor
    labels_BT: torch.Tensor
    positions_BT: torch.Tensor
    mask_B1TT: torch.Tensor


class Packer:
    """Turns questions and answers into rows behind one prefix."""

    def __init__(self, processor, image_tokens: int) -> None:
        self.tokenizer = processor.tokenizer
        image = [processor.tokenizer.convert_tokens_to_ids(processor.image_token)] * image_tokens
        ids = lambda text: self.tokenizer(text, add_special_tokens=False).input_ids  # noqa: E731
        self.image_prefix = [*ids("USER: "), *image, *ids("\n")]
        self.text_prefix = ids("USER: ")

    def pack(self, rows: Sequence[Sequence[Said]], device: torch.device, *, image: bool) -> Batch:
        """Return one row for each sequence of questions and answers."""
        prefix = self.image_prefix if image else self.text_prefix
        flat = [text for row in rows for s in row for text in (f"{s.query} ASSISTANT:", f" {s.answer}")]
        ids = iter(self.tokenizer(flat, add_special_tokens=False).input_ids)
        built = [self._row(prefix, len(row), ids) for row in rows]
        length = max(len(row[0]) for row in built)
        pad = self.tokenizer.pad_token_id
        ids_BT = torch.full((len(rows), length), pad)
        labels_BT = torch.full((len(rows), length), -100)
        positions_BT = torch.zeros((len(rows), length), dtype=torch.long)
        segments_BT = torch.full((len(rows), length), PADDING)
        for b, (row_ids, labels, lens) in enumerate(built):
            t = len(row_ids)
            ids_BT[b, :t], labels_BT[b, :t] = torch.tensor(row_ids), torch.tensor(labels)
            positions_BT[b, :t] = torch.cat([torch.arange(len(prefix)), *(len(prefix) + torch.arange(n) for n in lens)])
            lens = torch.tensor([len(prefix), *lens])
            segments_BT[b, :t] = torch.repeat_interleave(torch.arange(len(lens)), lens)
        allowed_BTT = branch_mask(segments_BT)
        mask = torch.zeros(allowed_BTT.shape).masked_fill(~allowed_BTT, torch.finfo(torch.float32).min)[:, None]
        return Batch(ids_BT.to(device), labels_BT.to(device), positions_BT.to(device), mask.to(device))

    def _row(self, prefix: list[int], branches: int, ids: Iterator[list[int]]):
        row, labels, lens = list(prefix), [-100] * len(prefix), []
        for _ in range(branches):
            query, answer = next(ids), [*next(ids), self.tokenizer.eos_token_id]
            row += query + answer
            labels += [-100] * len(query) + answer
            lens.append(len(query) + len(answer))
        return row, labels, lens


def language_loss(
    model: LlavaForConditionalGeneration | FastVlmForConditionalGeneration,
    batch: Batch,
    features_BGE: torch.Tensor | None,
) -> torch.Tensor:
    """Return mean cross-entropy of the answers' tokens."""
    llama = model.model.language_model
    embeds_BTE = llama.embed_tokens(batch.ids_BT)
    if features_BGE is not None:
        images = model.model.multi_modal_projector(features_BGE)
        where = (batch.ids_BT == model.config.image_token_id)[..., None]
        embeds_BTE = embeds_BTE.masked_scatter(where, images)
    hidden_BTE = llama(
        inputs_embeds=embeds_BTE, attention_mask=batch.mask_B1TT, position_ids=batch.positions_BT, use_cache=False
    ).last_hidden_state
    wanted = batch.labels_BT[:, 1:] != -100
    return F.cross_entropy(model.lm_head(hidden_BTE[:, :-1][wanted]), batch.labels_BT[:, 1:][wanted])


def adamw(groups: list[dict], steps: int, *, weight_decay: float = 0.01):
    """Return AdamW and a one-cycle schedule of `steps` steps; each group has its own rate, "lr"."""
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=weight_decay)
    rates = [group["lr"] for group in groups]
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.05)


def step(loss: torch.Tensor, optimizer: torch.optim.Optimizer, schedule) -> None:
    """Take a step down the loss, with gradients clipped."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    schedule.step()
