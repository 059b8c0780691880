"""Concept selection and candidate scoring against the plain per-image loop; ours alone up to a million descriptions.

The plain loop is docs/method.md's formulas in NumPy as one writes them down: for each image the other images'
descriptions are gathered anew, and each concept is scored against them; for each candidate, each of its concepts
against the others. Where it is long it is timed on some images, which all cost the same, and scaled; the output says
so. Ours is `select` whole, from embeddings to records. Embeddings are random unit vectors, 25 classes of 15 concepts;
the descriptions that ours reads alone are in a memory-mapped float32 file, as the loop has them.
"""

import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from bench import measure
from seewhy.config import SelectConfig
from seewhy.method.infonce import candidate_scores, concept_scores
from seewhy.method.select import select
from seewhy.records import Description, Example

TEMPERATURE, THRESHOLD, MINIMUM = 0.1, 0.4, 3
CLASSES, CONCEPTS = 25, 15
PER_IMAGE, WIDTH = 30, 1024
CANDIDATES, CHOSEN = 24, 5
"""Candidates an image (8 queries x 3 samples), and concepts selected for it."""
PLAIN_IMAGES, QUICK_PLAIN_IMAGES = 25, 4
"""Images that the plain loop is timed on at most."""


@dataclass(frozen=True)
class World:
    """Embedded descriptions, concepts and candidates of some images."""

    descriptions_DE: np.ndarray
    owner_D: np.ndarray
    concepts_CE: np.ndarray
    wanted: list[np.ndarray]
    candidates_YE: np.ndarray
    selected: list[np.ndarray]


def world(images: int) -> World:
    random = np.random.default_rng(images)
    columns = np.arange(CLASSES * CONCEPTS).reshape(CLASSES, CONCEPTS)
    wanted = [columns[image % CLASSES] for image in range(images)]
    selected = [np.sort(random.choice(wanted[image], CHOSEN, replace=False)) for image in range(images)]
    return World(
        unit(random, images * PER_IMAGE),
        np.repeat(np.arange(images), PER_IMAGE),
        unit(random, CLASSES * CONCEPTS),
        wanted,
        unit(random, images * CANDIDATES),
        [selected[image] for image in range(images) for _ in range(CANDIDATES)],
    )


def unit(random: np.random.Generator, rows: int) -> np.ndarray:
    vectors_XE = random.standard_normal((rows, WIDTH), dtype=np.float32)
    return vectors_XE / np.linalg.norm(vectors_XE, axis=1, keepdims=True)


def plain_scores(world: World, image: int) -> np.ndarray:
    """Step 2 for one image."""
    own_DE = world.descriptions_DE[world.owner_D == image]
    others_DE = world.descriptions_DE[world.owner_D != image]
    scores = []
    for concept_E in world.concepts_CE[world.wanted[image]]:
        positive_D = np.exp(own_DE @ concept_E / TEMPERATURE)
        negatives = np.exp(others_DE @ concept_E / TEMPERATURE).sum()
        scores.append(np.log(positive_D / (positive_D + negatives)).sum())
    return np.array(scores)


def plain_rule(scores_C: np.ndarray) -> np.ndarray:
    keep_C = scores_C > scores_C.mean() + THRESHOLD * scores_C.std(ddof=1)
    if keep_C.sum() < MINIMUM:
        keep_C[np.argsort(-scores_C)[:MINIMUM]] = True
    return keep_C


def plain_candidate(world: World, candidate: int) -> float:
    """Step 6 for one candidate."""
    answer_E, chosen = world.candidates_YE[candidate], world.selected[candidate]
    others_CE = np.stack([z_E for row, z_E in enumerate(world.concepts_CE) if row not in chosen])
    negatives = np.exp(others_CE @ answer_E / TEMPERATURE).sum()
    positives = [np.exp(world.concepts_CE[row] @ answer_E / TEMPERATURE) for row in chosen]
    return float(sum(np.log(positive / (positive + negatives)) for positive in positives))


def our_selection(world: World) -> Callable[[], object]:
    """Step 2 as the loop does it. Records, which the loop has anyway, are made beforehand."""
    names = [f"concept {row}" for row in range(CLASSES * CONCEPTS)]
    bank = {f"class {c}": names[c * CONCEPTS : (c + 1) * CONCEPTS] for c in range(CLASSES)}
    examples = [Example(str(i), "", "", f"class {i % CLASSES}", "train") for i in range(len(world.wanted))]
    descriptions = [Description(str(owner), "", 0, "") for owner in world.owner_D]
    return lambda: select(
        examples, descriptions, world.descriptions_DE, bank, names, world.concepts_CE,
        SelectConfig(temperature=TEMPERATURE, threshold_std=THRESHOLD, minimum=MINIMUM, rule="image"),
    )  # fmt: skip


def our_candidates(world: World) -> np.ndarray:
    return candidate_scores(world.candidates_YE, world.concepts_CE, world.selected, TEMPERATURE)


def compare(images: int, repetitions: int, plain_images: int = PLAIN_IMAGES) -> dict[str, float]:
    """Seconds of both for so many images, and the largest difference of a score."""
    this = world(images)
    timed = min(images, plain_images)

    def plain_selection() -> None:
        for image in range(timed):
            plain_rule(plain_scores(this, image))

    def plain_candidates() -> None:
        for candidate in range(timed * CANDIDATES):
            plain_candidate(this, candidate)

    seconds = measure.interleaved({"ours": our_selection(this), "plain": plain_selection}, repetitions)
    judging = measure.interleaved({"ours": lambda: our_candidates(this), "plain": plain_candidates}, repetitions)
    scale = images / timed
    return {
        "ours": median(seconds["ours"]),
        "plain": median(seconds["plain"]) * scale,
        "timed": timed,
        "ours_candidates": median(judging["ours"]),
        "plain_candidates": median(judging["plain"]) * scale,
        "difference": largest_difference(this, timed),
    }


def largest_difference(world: World, images: int) -> float:
    ours = concept_scores(world.descriptions_DE, world.owner_D, world.concepts_CE, world.wanted, TEMPERATURE)
    apart = [np.abs(ours[image] - plain_scores(world, image)).max() for image in range(images)]
    judged_Y = our_candidates(world)
    apart += [abs(judged_Y[y] - plain_candidate(world, y)) for y in range(images * CANDIDATES)]
    return float(max(apart))


def write_descriptions(path: Path, count: int) -> None:
    """A .npy file of random unit vectors, in blocks."""
    random = np.random.default_rng(0)
    file_DE = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, WIDTH))
    for start in range(0, count, 16_384):
        file_DE[start : start + 16_384] = unit(random, min(16_384, count - start))
    file_DE.flush()


def scoring_of_file(path: Path) -> Callable[[], object]:
    """Scores of all concepts of each image's class, over a file that is mapped into memory and not read yet."""
    descriptions_DE = np.load(path, mmap_mode="r")
    images = -(-len(descriptions_DE) // PER_IMAGE)
    owner_D = np.arange(len(descriptions_DE)) // PER_IMAGE
    concepts_CE = unit(np.random.default_rng(1), CLASSES * CONCEPTS)
    columns = np.arange(CLASSES * CONCEPTS).reshape(CLASSES, CONCEPTS)
    wanted = [columns[image % CLASSES] for image in range(images)]
    return lambda: concept_scores(descriptions_DE, owner_D, concepts_CE, wanted, TEMPERATURE)


def ours_alone(sizes: list[int], repetitions: int, threads: int) -> dict[int, tuple[float, float]]:
    """Size -> median seconds and peak GB. Only one file is on the disk at a time."""
    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "descriptions.npy"
            write_descriptions(path, size)
            peak = measure.peaks({"ours": (scoring_of_file, path)}, threads, "cpu")["ours"]
            seconds = measure.interleaved({"ours": scoring_of_file(path)}, repetitions)
        found[size] = (median(seconds["ours"]), peak)
    return found


def growth_exponent(found: Mapping[int, tuple[float, float]]) -> float:
    """Slope of log time over log size, from a tenth of the largest size on."""
    sizes = [size for size in found if size * 10 >= max(found)]
    return float(np.polyfit(np.log(sizes), np.log([found[size][0] for size in sizes]), 1)[0])


def short(size: int) -> str:
    """1000000 as 1m, 250000 as 250k."""
    for unit_, name in ((1_000_000, "m"), (1_000, "k")):
        if size % unit_ == 0:
            return f"{size // unit_}{name}"
    return str(size)


def main(arguments: list[str] | None = None) -> None:
    parser = measure.parser("bench.selection", __doc__ or "")
    parser.add_argument("--images", type=measure.numbers, help="against the plain loop (default: 250,1000,3000)")
    parser.add_argument("--descriptions", type=measure.numbers, help="ours alone (default: 100000,300000,1000000)")
    options = parser.parse_args(arguments)
    repetitions = measure.begin(options)
    images, sizes = sizes_of(options)
    alone = ours_alone(sizes, repetitions, options.threads)
    plain_images = QUICK_PLAIN_IMAGES if options.quick else PLAIN_IMAGES
    compared = {count: compare(count, repetitions, plain_images) for count in images}
    show(alone, compared)
    measure.report(figures_of(alone, compared), options.json)


def sizes_of(options: Namespace) -> tuple[list[int], list[int]]:
    images = options.images or ([250, 3000] if options.quick else [250, 1000, 3000])
    sizes = options.descriptions or ([25_000, 100_000] if options.quick else [100_000, 300_000, 1_000_000])
    return images, sizes


def show(alone: Mapping[int, tuple[float, float]], compared: Mapping[int, Mapping[str, float]]) -> None:
    measure.show(
        f"Selection: {PER_IMAGE} descriptions an image, {CLASSES} classes x {CONCEPTS} concepts, {WIDTH} dimensions",
        ["images", "ours, s", "plain, s", "plain / ours", "plain timed on", "largest difference"],
        [
            [
                str(n), c["ours"], c["plain"], c["plain"] / c["ours"],
                "all" if c["timed"] == n else f"{c['timed']} images, scaled", c["difference"],
            ]
            for n, c in compared.items()
        ],
    )  # fmt: skip
    measure.show(
        f"Candidate scores: {CANDIDATES} candidates an image",
        ["images", "ours, s", "plain, s", "plain / ours"],
        [
            [str(n), c["ours_candidates"], c["plain_candidates"], c["plain_candidates"] / c["ours_candidates"]]
            for n, c in compared.items()
        ],
    )
    measure.show(
        "Ours alone, from a memory-mapped file",
        ["descriptions", "s", "peak GB"],
        [[f"{size:,}", *found] for size, found in alone.items()],
    )


def figures_of(
    alone: Mapping[int, tuple[float, float]], compared: Mapping[int, Mapping[str, float]]
) -> dict[str, float]:
    figures = {}
    for count, found in compared.items():
        figures[f"selection_seconds_{count}"] = found["ours"]
        figures[f"selection_ratio_{count}"] = found["plain"] / found["ours"]
        figures[f"selection_candidates_ratio_{count}"] = found["plain_candidates"] / found["ours_candidates"]
    figures["selection_score_difference"] = max(found["difference"] for found in compared.values())
    for size, (seconds, peak) in alone.items():
        figures[f"selection_seconds_{short(size)}"] = seconds
        figures[f"selection_peak_gb_{short(size)}"] = peak
    figures["selection_growth_exponent"] = growth_exponent(alone)
    return figures


if __name__ == "__main__":
    main()
