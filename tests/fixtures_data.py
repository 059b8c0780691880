"""A data set of three classes that the tests draw on the spot, a concept bank for it, and a tiny text encoder."""

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

CONCEPTS = {
    "Fish Crow": ["black wings", "yellow bill", "long tail"],
    "Crow": ["black wings", "orange legs", "wing bars", "white belly with spots"],
    "Red-crested Finch": ["red crest", "white belly with spots", "eye ring"],
}


def image_folder(root: Path, *, train: int = 4, test: int = 2, val: int = 0) -> Path:
    """`root/images/{train,test,val}/<class>/N.png` of random pixels, and `root/concepts.yaml`."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("test", test), ("val", val)):
        for label in CONCEPTS if count else ():
            folder = root / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (root / "concepts.yaml").write_text(yaml.safe_dump(CONCEPTS), encoding="utf-8")
    return root


def tiny_encoder(folder: Path) -> Path:
    """A StaticEmbedding of random vectors for the words of the concepts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = sorted({word for phrases in CONCEPTS.values() for phrase in phrases for word in phrase.split()})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.random.default_rng(0).standard_normal((len(words) + 1, 16)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)]).save(str(folder))
    return folder
