"""Do the reasons of a run's model point at what they speak of, by gradient and by occlusion?

`seewhy faithfulness` measures the first; here the slow reference stands beside it, on the same reasons: every true one
in the greedy answers of a split hits when its hottest patch lies in the true box (seewhy/proof/interventions.py).
Data without true boxes cannot be measured.

example:
  python -m bench.pointing runs/fieldguide --split val --json pointing.json
"""

import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.measure import limit_threads, machine, note, report, show
from seewhy.domain.domain import Domain
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.proof.confusion import spread
from seewhy.proof.interventions import Pointed, mention, pointed, pointing
from seewhy.proof.stated import StatedConcepts
from seewhy.records import Example
from seewhy.run.finished import FinishedRun
from seewhy.run.models import LoadedModel
from seewhy.run.progress import progress
from seewhy.run.stages import BASE
from seewhy.vlm.attribution import gradient, occlusion, seen_region

Heat = Callable[..., np.ndarray]


def judge(
    asked: LoadedModel, domain: Domain, examples: Sequence[Example], answers: Mapping[str, str], heat: Heat, name: str
) -> list[Pointed]:
    """Every reason that is true, to be seen, and has a box."""
    judged: list[Pointed] = []
    truth, stated, question = domain.truth or {}, StatedConcepts.of(domain), domain.questions.evaluation
    with progress(name, total=len(examples), done=0) as advance:
        for example in examples:
            answer, boxes = answers[example.id], truth[example.id].boxes if example.id in truth else {}
            concepts = [c for c in stated(answer) if c in boxes and mention(c, answer)]
            image = load_image(domain.path(example))
            region = seen_region(asked.vlm, image.size)
            heats_CRK = heat(asked.vlm, question, image, answer, [mention(c, answer) for c in concepts])
            for concept, heat_RK in zip(concepts, heats_CRK, strict=True):
                judged.append(pointed(example.id, heat_RK, boxes[concept], region, image.size))
            advance(1)
    return judged


def parser() -> ArgumentParser:
    made = ArgumentParser("python -m bench.pointing", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--split", default="val", choices=("train", "val", "test"), help="images (default: val)")
    made.add_argument("--round", type=int, help="round of the model (default: the last)")
    made.add_argument("--base", action="store_true", help="measure the untuned model")
    made.add_argument("--images", type=int, default=10_000, help="at most so many, spread over the classes")
    made.add_argument("--steps", type=int, default=4, help="steps of the gradient; 0: plain gradient x input")
    made.add_argument("--occlude", type=int, default=24, help="images for occlusion, the slow one; 0: none")
    made.add_argument("--block", type=int, default=2, help="patches a side that are greyed at a time (default: 2)")
    made.add_argument("--bootstrap", type=int, default=1000, help="resamples behind each interval")
    made.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, as one flat object")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser().parse_args(arguments)
    limit_threads(given.threads)
    run = FinishedRun.open(given.run)
    key, domain = BASE if given.base else run.method_model(given.round), run.domain
    examples = spread(domain.split(given.split), given.images)
    if not examples:
        raise SeeWhyError(f"{domain.name} has no {given.split} images: choose another --split.")
    asked = LoadedModel(run.load(key), run.config)
    note(f"{machine(asked.vlm.device.type, given.threads)}\n{key}, {len(examples)} {given.split} images")
    pictures = {e.id: partial(load_image, domain.path(e)) for e in examples}
    answered = asked.answers(pictures, domain.questions.evaluation, "answering")
    answers = {name: text for name, (text,) in answered.items()}
    ways: dict[str, tuple[Sequence[Example], Heat]] = {
        "gradient": (examples, partial(gradient, steps=given.steps)),
        "occlusion": (spread(examples, given.occlude), partial(occlusion, block=given.block, batch_size=64)),
    }
    figures: dict[str, float] = {}
    rows = []
    for name, (few, heat) in ways.items():
        if not few:
            continue
        start = time.perf_counter()
        judged = judge(asked, domain, few, answers, heat, name)
        if not judged:
            raise SeeWhyError("No answer states a true concept that has a box: there is nothing to measure.")
        seconds = (time.perf_counter() - start) / len(few)
        found = pointing(judged, resamples=given.bootstrap, seed=0)
        for key, label in (("pointing", name), ("pointing_chance", "chance"), ("pointing_centre", "image centre")):
            figure, suffix = found[key], key.removeprefix("pointing")
            low, high = figure.interval or (0.0, 1.0)
            images = len({one.image for one in judged})
            rows.append((label, figure.value, f"{low:.3f}-{high:.3f}", str(figure.n), str(images)))
            figures |= {f"pointing_{name}{suffix}": figure.value, f"pointing_{name}{suffix}_low": low}
            figures[f"pointing_{name}{suffix}_high"] = high
        figures[f"seconds_per_image_{name}"] = seconds
    show("Hottest patch in the true box", ("by", "share", "95 %", "reasons", "images"), rows)
    report(figures, given.json)


if __name__ == "__main__":
    main()
