"""One answer, token by token, as a page shows it: the text that `BatchSampler.sample` returns for a single prompt."""

from collections.abc import Iterator

import torch
from PIL import Image

from seewhy.errors import SeeWhyError
from seewhy.records import Sampling
from seewhy.vlm.chat import encode
from seewhy.vlm.draws import draw, uniforms
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.prefix import why_not_shared
from seewhy.vlm.sampling import PlainDecoder, SharedDecoder

_HALF_A_CHARACTER = "\ufffd"
"""What a tokenizer writes for the first bytes of a character whose others are yet to come."""


@torch.inference_mode()
def stream(
    vlm: VisionLanguageModel, question: str, image: Image.Image, sampling: Sampling, seed: int = 0
) -> Iterator[str]:
    """Yield the answer to a question about an image as far as it is written; the last text is the whole answer.

    Yields nothing for an empty answer. Raises SeeWhyError for a question that holds a marker of the model or is too
    long for it, and for an image that its processor refuses.
    """
    row = encode(vlm, question, image)
    length = row["input_ids"].shape[1]
    if length + sampling.max_new_tokens > vlm.max_length:
        raise SeeWhyError(
            f"The question has {length} tokens with its image, and {sampling.max_new_tokens} more do not fit into the "
            f"{vlm.max_length} of model {vlm.name}: ask a shorter one."
        )
    decoder = (SharedDecoder if why_not_shared(vlm.model, "sample") is None else PlainDecoder)(vlm, [[row]], 1)
    uniform_N = uniforms(seed, 0, sampling)[0].to(vlm.device)
    ids: list[int] = []
    for place in range(sampling.max_new_tokens):
        ids_1 = draw(decoder.logits_BV, sampling, uniform_N[place : place + 1])
        if int(ids_1) in vlm.stop_token_ids:
            break
        ids.append(int(ids_1))
        yield str(vlm.tokenizer.decode(ids)).strip().rstrip(_HALF_A_CHARACTER)
        if place < sampling.max_new_tokens - 1:
            decoder.step(ids_1)
