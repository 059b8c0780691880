"""`seewhy explain RUN photo.jpg`: what a run's model calls a photo, how sure it is, why, and where it looks.

The label and the reasons are those of the greedy answer to the evaluation question. Confidence is the share of sampled
answers that name the same label and no other, a reason's support the share of them that state it too: they say how
steady the model is, not how often it is right. `asking.py` asks, `explained.py` shows.

    for explained in explain("runs/fieldguide", ["photo.jpg"]):
        print(explained.label, explained.confidence, [reason.concept for reason in explained.reasons])
"""

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.explanation.asking import SAMPLES, Asker, Question
from seewhy.explanation.explained import slug
from seewhy.results import Explained
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import progress
from seewhy.run.stages import BASE

PROGRESS_AFTER = 10.0
"""Seconds after which progress is shown."""


def explain(
    run: str,
    images: Sequence[str],
    *,
    round: int | None = None,
    base: bool = False,
    samples: int = SAMPLES,
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
    key = BASE if base else opened.method_model(round)
    for image in images:
        load_image(image)
    asker = Asker(opened, samples=samples, seed=seed)
    asker.model(key)
    folders = _folders(images, Path(output) if output else Path(run) / "explained")
    found, start, advance = [], time.monotonic(), None
    with ExitStack() as stack:
        for number, (image, folder) in enumerate(zip(images, folders, strict=True)):
            if advance is None and time.monotonic() - start > PROGRESS_AFTER:
                advance = stack.enter_context(progress("explaining", total=len(images), done=number))
            question = Question(load_image(image), opened.questions.evaluation, key, name=image)
            found.append(asker.explain(question).saved(folder))
            if advance is not None:
                advance(1)
    return found


def as_json(explained: Sequence[Explained]) -> str:
    """One object a photo, with the fields of `Explained`."""
    return json.dumps([asdict(one) for one in explained], indent=2, ensure_ascii=False)


def _folders(images: Sequence[str], root: Path) -> list[Path]:
    """A folder for each photo, named after its own folder and itself; never one for two photos."""
    taken: Counter[str] = Counter()
    folders = []
    for image in images:
        place = Path(image).absolute()
        name = slug(f"{place.parent.name} {place.stem}")
        taken[name] += 1
        folders.append(root / (name if taken[name] == 1 else f"{name}-{taken[name]}"))
    return folders
