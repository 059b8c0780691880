"""The embeddings of the descriptions, in a file of the run folder while a process needs them."""

import shutil
from pathlib import Path

import numpy as np

from seewhy.method.encoder import TextEncoder, embed_to_file
from seewhy.records import Description
from seewhy.run.records import Records
from seewhy.run.storage import disk


class DescriptionEmbeddings:
    """Embeds train's descriptions once, whichever split is selected for beside them."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "embedded"
        self._held = 0
        """Descriptions whose embeddings the file has and keeps."""

    def of(self, descriptions: Records[Description], encoder: TextEncoder, *, train: int) -> np.ndarray:
        """Return the embeddings of descriptions, (D, E), of which the first `train` are the same in every call."""
        if not self._held:
            self.remove()
        with disk(file := self._folder / "descriptions.npy"):
            self._folder.mkdir(exist_ok=True)
            texts = (description.text for description in descriptions)
            embedded_DE = embed_to_file(file, texts, encoder, count=len(descriptions), held=self._held)
        self._held = train
        return embedded_DE

    def remove(self) -> None:
        """Remove the file, be it of this process or of one that was killed."""
        shutil.rmtree(self._folder, ignore_errors=True)
