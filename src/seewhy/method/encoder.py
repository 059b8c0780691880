"""The text encoder of steps 2 and 6: any sentence-transformers model, a `StaticEmbedding` one through the same path.

Concepts are embedded as queries and texts (descriptions, answers) as passages. A model that brings prompts of its own
for the two is given those; an E5 model that brings none gets its `query: ` and `passage: `. The research code leaves
them out, as `prefixes=False` does. A special token's name in a text ("[SEP]") is text. Only this module imports
sentence_transformers.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from seewhy.errors import SeeWhyError
from seewhy.run.model_files import check_encoder_folder

_STATIC_BATCH = 4096
"""Texts at a time of a model without layers, of which each text's embedding is the same in every batch."""
_E5 = re.compile(r"(?<![a-z0-9])e5(?![a-z0-9])", re.IGNORECASE)
_E5_PROMPTS = {"query": "query: ", "document": "passage: "}


class TextEncoder(Protocol):
    """What the stages ask of an encoder: L2-normalised float32 embeddings, one row a text."""

    def embed_concepts(self, concepts: Sequence[str]) -> np.ndarray:
        """(C, E)."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(D, E)."""
        ...


class Encoder:
    """A sentence-transformers model, by name on the Hub or by folder. `device` 'auto' takes a GPU where there is one.

    Raises SeeWhyError when no model can be read under that name.
    """

    def __init__(self, name_or_path: str, device: str = "auto", batch_size: int = 64, *, prefixes: bool = True) -> None:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
        from tokenizers import Tokenizer

        if Path(name_or_path).is_dir():
            check_encoder_folder(Path(name_or_path))
        try:
            self.model = SentenceTransformer(name_or_path, device=None if device == "auto" else device)
            self.model.encode(["The bill is black."], show_progress_bar=False)  # tokenizer and weights may not fit
        except MemoryError:
            raise
        except Exception as error:  # tokenizers raises Exception itself, others whatever a broken file makes them do
            if "out of memory" in str(error).lower():
                raise
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise SeeWhyError(
                f"There is no sentence-transformers model {name_or_path!r} that can be read ({said}). Set "
                "select.encoder to a whole folder, or to a name on the Hub (such as intfloat/e5-large) that can be "
                "reached."
            ) from error
        static = len(self.model) == 1 and isinstance(self.model[0], StaticEmbedding)
        self.batch_size = max(batch_size, _STATIC_BATCH) if static else batch_size
        if not prefixes:
            self.model.prompts = {}
            self.model.default_prompt_name = None
        elif is_plain_e5(name_or_path) and not any(self.model.prompts.values()):
            self.model.prompts = {**self.model.prompts, **_E5_PROMPTS}
        if isinstance(self.model.tokenizer, Tokenizer):
            self.model.tokenizer.encode_special_tokens = True
        else:
            self.model.tokenizer.split_special_tokens = True

    def embed_concepts(self, concepts: Sequence[str]) -> np.ndarray:
        """(C, E) float32, L2-normalised. Raises SeeWhyError where the model gives something that is not a number."""
        return self._embed(self.model.encode_query, concepts)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(D, E) float32, L2-normalised. Raises SeeWhyError where the model gives something that is not a number."""
        return self._embed(self.model.encode_document, texts)

    def _embed(self, encode: Callable, texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return self._embed(encode, [""])[:0]
        raw_XE = encode(list(texts), batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True)
        embedded_XE = np.asarray(raw_XE, dtype=np.float32)
        finite_X = np.isfinite(embedded_XE).all(axis=1)
        if not finite_X.all():
            raise SeeWhyError(f"The encoder cannot embed {texts[int(finite_X.argmin())]!r}: choose another one.")
        # A text of unknown words alone may be a zero vector, which has no direction: it stays zero, similar to nothing.
        return embedded_XE / np.maximum(np.linalg.norm(embedded_XE, axis=1, keepdims=True), 1e-12)


def is_plain_e5(name_or_path: str) -> bool:
    """Whether the name is that of an E5 model which takes `query: ` and `passage: ` (the instruct ones do not)."""
    name = Path(name_or_path).name
    return bool(_E5.search(name)) and "instruct" not in name.lower()


def embed_to_file(
    path: Path,
    texts: Iterable[str],
    encoder: TextEncoder,
    block: int = 16_384,
    *,
    count: int | None = None,
    held: int = 0,
) -> np.ndarray:
    """Embeddings of many texts, (D, E) float32, written to a .npy file block by block and memory-mapped read-only.

    `count` is the number of texts; by default they are counted. The first `held` of them are those of which the file
    holds the embeddings already: whole blocks of these are kept, as an encoder may round by what else is in a block.
    """
    if count is None:
        texts = list(texts)
        count = len(texts)
    kept = min(held, count) // block * block
    rows, blocks = islice(texts, kept, None), range(kept, count, block)
    with path.open("r+b" if kept else "wb") as file:
        for start in blocks or [kept]:
            embedded_DE = encoder.embed_texts(list(islice(rows, block)))
            if start == kept:
                file.truncate(
                    _write_header(file, count, embedded_DE) + kept * embedded_DE.shape[1] * embedded_DE.itemsize
                )
                file.seek(0, SEEK_END)
            embedded_DE.tofile(file)  # a mapped file that is written to counts as this process's memory
    return np.load(path, mmap_mode="r" if count else None)


def _write_header(file: BinaryIO, count: int, like_DE: np.ndarray) -> int:
    """Write a .npy file's header for `count` such rows; return its bytes, which do not depend on their number."""
    header = np.lib.format.header_data_from_array_1_0(like_DE)
    np.lib.format.write_array_header_1_0(file, {**header, "shape": (count, like_DE.shape[1])})
    return file.tell()
