"""`seewhy explain RUN photo.jpg`: what a run's model calls a photo, how sure it is, why, and where it looks.

The label and the reasons are those of the greedy answer to the evaluation question. Confidence is the share of sampled
answers that name the same label and no other, a reason's support the share of them that state it too: they say how
steady the model is, not how often it is right. Where a reason is comes from vlm/attribution.py.

    for explained in explain("runs/fieldguide", ["photo.jpg"]):
        print(explained.label, explained.confidence, [reason.concept for reason in explained.reasons])
"""

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.interventions import mention
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Prompt, Sampling
from seewhy.report.pictures import captioned, overlay
from seewhy.results import Explained, Reason
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import progress
from seewhy.run.stages import BASE
from seewhy.run.storage import disk
from seewhy.vlm.attribution import can_attribute, gradient, seen_region
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

PROGRESS_AFTER = 10.0
"""Seconds after which progress is shown."""


def explain(
    run: str,
    images: Sequence[str],
    *,
    round: int | None = None,
    base: bool = False,
    samples: int = 8,
    output: str | None = None,
    seed: int = 0,
    trust_remote_code: bool | None = None,
) -> list[Explained]:
    """Ask the run's best model (or that of `round`, or the untuned `base`) to name each photo and say why.

    Code that comes with the model is run only with `trust_remote_code`, whatever the run folder says. The pictures are
    written to `output`, or else to RUN/explained: a folder a photo, a PNG a reason. Raises SeeWhyError
    for a folder without a run or without that model, and for a photo that cannot be read, before any model is loaded.
    """
    if samples < 1:
        raise SeeWhyError(f"--samples is {samples}, but the confidence needs at least 1 sampled answer.")
    opened = FinishedRun.open(run, trust_remote_code=trust_remote_code)
    key, config = BASE if base else opened.method_model(round), opened.config
    for image in images:
        load_image(image)
    matcher, stated = opened.matcher, StatedConcepts(opened.bank.all_concepts, opened.vocabulary.names)
    question = opened.questions.evaluation
    vlm = opened.load(key)
    sampler = BatchSampler(vlm, config.model.batch_size, load_image, share_image=config.model.share_image)
    tokens, drawn = config.evaluate.max_new_tokens, config.sample
    often = Sampling(samples, drawn.temperature, drawn.top_p, tokens)

    def one(image: str, folder: Path) -> Explained:
        prompt = [Prompt(image, image, question)]
        answer = sampler.sample(prompt, Sampling(max_new_tokens=tokens), seed)[0][0]
        others = sampler.sample(prompt, often, seed)[0]
        named = [_only(matcher.names(text)) for text in others]
        label, concepts = _only(matcher.names(answer)), stated(answer)
        pictures, problem = _overlays(vlm, question, image, answer, concepts, folder)
        reasons = [
            Reason(concept, sum(concept in stated(text) for text in others) / samples, pictures.get(concept))
            for concept in concepts
        ]
        confidence = named.count(label) / samples if label else 0.0
        counts = dict(Counter(name or "" for name in named).most_common())
        return Explained(image, label, confidence, answer, tuple(reasons), counts, problem)

    folders = _folders(images, Path(output) if output else Path(run) / "explained")
    found, start, advance = [], time.monotonic(), None
    with ExitStack() as stack:
        for number, (image, folder) in enumerate(zip(images, folders, strict=True)):
            if advance is None and time.monotonic() - start > PROGRESS_AFTER:
                advance = stack.enter_context(progress("explaining", total=len(images), done=number))
            found.append(one(image, folder))
            if advance is not None:
                advance(1)
    return found


def as_json(explained: Sequence[Explained]) -> str:
    """One object a photo, with the fields of `Explained`."""
    return json.dumps([asdict(one) for one in explained], indent=2, ensure_ascii=False)


def _only(names: set[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _overlays(
    vlm: VisionLanguageModel, question: str, image: str, answer: str, concepts: Sequence[str], folder: Path
) -> tuple[dict[str, str], str | None]:
    """concept -> the PNG written for it; or why there are none."""
    picture = load_image(image)
    if problem := can_attribute(vlm, picture):
        return {}, problem
    targets = [(concept, spans) for concept in concepts if (spans := mention(concept, answer))]
    heat_CRK: np.ndarray = gradient(vlm, question, picture, answer, [spans for _, spans in targets])
    region, written = seen_region(vlm, picture.size), {}
    for (concept, _), heat_RK in zip(targets, heat_CRK, strict=True):
        path = folder / f"{_slug(concept)}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with disk(path):
                captioned(overlay(picture, heat_RK, region), concept).save(path)
        except OSError as error:
            raise SeeWhyError(f"{path} cannot be written ({error.strerror}): set --output to a folder.") from error
        written[concept] = str(path)
    return written, None


def _folders(images: Sequence[str], root: Path) -> list[Path]:
    """A folder for each photo, named after its own folder and itself; never one for two photos."""
    taken: Counter[str] = Counter()
    folders = []
    for image in images:
        place = Path(image).absolute()
        name = _slug(f"{place.parent.name} {place.stem}")
        taken[name] += 1
        folders.append(root / (name if taken[name] == 1 else f"{name}-{taken[name]}"))
    return folders


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")[:80] or "photo"
