"""Embeddings of images as a model sees them: the mean of an image's tokens where they enter the language model.

Nothing behind that point is computed, so an image costs its vision tower and its projector alone.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from seewhy.vlm.chat import collate, encode, move
from seewhy.vlm.model import VisionLanguageModel


class _Reached(Exception):
    """The language model has been reached, and need not be gone through."""


@torch.inference_mode()
def embed_images(vlm: VisionLanguageModel, images: Sequence[Image.Image], *, batch_size: int = 16) -> np.ndarray:
    """Return the mean token of each image, (N, E), float32. Raises SeeWhyError for an image that is refused."""
    found: list[np.ndarray] = []
    for start in range(0, len(images), batch_size):
        rows = [encode(vlm, "?", image) for image in images[start : start + batch_size]]
        batch = move(collate(rows, vlm.pad_token_id, "left"), vlm)
        at_image_BT = batch["input_ids"] == vlm.image_token_id
        reached: list[torch.Tensor] = []

        def keep(_module: torch.nn.Module, _args: tuple, kwargs: dict, reached: list[torch.Tensor] = reached) -> None:
            reached.append(kwargs["inputs_embeds"])
            raise _Reached

        hook = vlm.model.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
        try:
            vlm.model(**batch, use_cache=False, logits_to_keep=1)
        except _Reached:
            pass
        finally:
            hook.remove()
        weights_BT = at_image_BT.float()
        mean_BE = torch.einsum("bt,bte->be", weights_BT, reached[0].float()) / weights_BT.sum(1, keepdim=True)
        found.append(mean_BE.cpu().numpy())
    return np.concatenate(found)
