"""A data set of any size in seconds, and a sampler that answers about it from templates at once.

An image is 8 x 8 pixels that spell its number, so that no two files are equal; the path says its class. Concepts are a
colour and a part of a bird ("red crown"), ten a class, as field guides share them; labels are two invented words.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, islice, product
from pathlib import Path
from random import Random
from types import MappingProxyType

import yaml

from seewhy.config import (
    DataConfig,
    DescribeConfig,
    EvaluateConfig,
    ModelConfig,
    RunConfig,
    SampleConfig,
    SelectConfig,
    SelectionRule,
    SynthesiseConfig,
)
from seewhy.domain.questions import label_sentence, with_article
from seewhy.records import Prompt, Sampling

COLOURS = ("red", "orange", "yellow", "green", "blue", "violet", "pink", "brown", "grey", "black", "white", "golden",
           "silver", "russet", "olive", "turquoise", "crimson", "cream", "buff", "rufous")  # fmt: skip
PARTS = ("crown", "breast", "belly", "back", "nape", "throat", "bill", "tail", "rump", "flanks", "legs", "feet", "eyes",
         "cheeks", "forehead", "chin", "mantle", "collar", "crest", "wings", "shoulders", "thighs", "hood", "mask",
         "moustache", "bib", "underparts", "lores", "scapulars", "vent")  # fmt: skip
LOOKS = ("", "pale", "dark", "streaked", "spotted", "barred", "glossy", "dull")
"""Before the colour, where there are more than `FEW_CLASSES`."""
FEW_CLASSES = 1000
PER_CLASS = 10
"""Concepts a class."""
SHOWN = 5
"""Concepts that a description or an answer states."""
PPM = b"P6 8 8 255\n"


def labels(classes: int) -> list[str]:
    """Return invented names of two words, such as 'Babedi Fogu'."""
    syllables = ["".join(letters) for letters in product("bdfgklmnprtvz", "aeiou")]
    words = Random(0).sample(["".join(three).capitalize() for three in product(syllables, repeat=3)], 2 * classes)
    return [f"{first} {second}" for first, second in zip(words[:classes], words[classes:], strict=True)]


def bank(classes: int) -> dict[str, list[str]]:
    """Return label -> concepts: 600 different ones, and 4,800 where there are many classes."""
    looks = LOOKS if classes > FEW_CLASSES else LOOKS[:1]
    phrases = [" ".join(filter(None, words)) for words in product(looks, COLOURS, PARTS)]
    return {label: Random(label).sample(phrases, PER_CLASS) for label in labels(classes)}


def make_world(folder: Path, images: int, classes: int) -> None:
    """Write `images` train images, a twentieth as many val and test images, the concept bank and the settings."""
    numbers = iter(range(2**31))
    names = [label.replace(" ", "_") for label in labels(classes)]
    held_out = max(len(names) if images < len(names) else 1, images // 20)
    for split, count in (("train", images), ("val", held_out), ("test", held_out)):
        for name in names[:count]:
            (folder / "images" / split / name).mkdir(parents=True)
        for name, number in zip(islice(cycle(names), count), numbers, strict=False):
            pixels = number.to_bytes(4, "big") * 48
            (folder / "images" / split / name / f"{number}.ppm").write_bytes(PPM + pixels)
    (folder / "concepts.yaml").write_text(yaml.safe_dump(bank(classes)))


def settings(
    world: Path, output: Path, *, rule: SelectionRule = "unlisted", asked: Sequence[int] = (3, 10), queries: int = 8
) -> RunConfig:
    """Return the settings of a run over two rounds: the defaults but for FS, which needs a model.

    `asked` is describe questions and descriptions of each, `queries` the questions about an image in each round. The
    encoder is the one that is shipped, so that nothing is downloaded.
    """
    return RunConfig(
        output=str(output),
        rounds=2,
        minimum_support=0.0,  # a world of a few images may not show half of the bank
        data=DataConfig(source=str(world / "images"), concepts=str(world / "concepts.yaml")),
        model=ModelConfig(device="cpu"),
        describe=DescribeConfig(prompts_per_image=asked[0], samples_per_prompt=asked[1]),
        select=SelectConfig(encoder="fieldguide", rule=rule),
        synthesise=SynthesiseConfig(answers_per_image=queries),
        sample=SampleConfig(queries_per_image=queries),
        evaluate=EvaluateConfig(fluency=False),
    )


class TemplateSampler:
    """A `Sampler` that knows the class of an image by its folder and answers by template, without a model.

    Which concepts a text states follows from the prompt's id, the sample and the seed alone. One answer in ten names
    another class, and one text in ten states a concept of any class, so that every path of the filters is taken.
    """

    def __init__(self, bank: Mapping[str, Sequence[str]], describing: Iterable[str]) -> None:
        self.bank = bank
        self.describing = frozenset(describing)
        self.labels = list(bank)

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        return [[self._text(prompt, seed + sample) for sample in range(sampling.samples)] for prompt in prompts]

    def rejected_text(self, text: str) -> str | None:
        return None

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def refused_sizes(self, sizes: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], str]:
        return MappingProxyType({})

    def _text(self, prompt: Prompt, seed: int) -> str:
        random = Random(zlib.crc32(prompt.id.encode()) << 32 | seed)
        label = prompt.image.rsplit("/", 2)[1].replace("_", " ")
        other = random.choice(self.labels)
        said = random.sample(self.bank[label], SHOWN)
        if random.random() < 0.1:
            said[0] = random.choice(self.bank[other])
        seen = f"{', '.join(f'a {concept}' for concept in said[:-1])} and a {said[-1]}"
        if prompt.text in self.describing:
            return f"The bird in this picture has {seen}. It is seen from the side, against a plain background."
        named = other if random.random() < 0.1 else label
        return f"{label_sentence(named)} I can tell {with_article(named)} by {seen}."
