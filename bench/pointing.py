"""Do the reasons of a run's model point at what they speak of?

Every true reason in the greedy answers of a split is attributed to the image, by gradient and by occlusion; it hits
when its hottest patch lies in the true box of the part (seewhy/proof/pointing.py). Beside that, on the same reasons:
chance (the box's share of the patches) and the naive guess, the middle of the image. Data without true boxes cannot be
measured.

example:
  python -m bench.pointing runs/fieldguide --split val --json pointing.json
"""

import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.measure import limit_threads, machine, note, report, show
from seewhy.domain.domain import Domain, load_domain
from seewhy.domain.images import load_image
from seewhy.errors import SeeWhyError
from seewhy.explainer import load_model, run_model
from seewhy.fieldguide.guide import with_guide
from seewhy.progress import progress
from seewhy.proof.explanation import StatedConcepts
from seewhy.proof.gallery import spread
from seewhy.proof.pointing import Pointed, mention, pointed, pointing
from seewhy.records import Example, Prompt, Sampling
from seewhy.vlm.attribution import gradient, occlusion, seen_region
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler

Heat = Callable[..., np.ndarray]


def parser(module: str, description: str) -> ArgumentParser:
    """The options of a measurement of one model of a run."""
    made = ArgumentParser(f"python -m {module}", description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("run", metavar="RUN", help="the run folder")
    made.add_argument("--split", default="val", choices=("train", "val", "test"), help="images (default: val)")
    made.add_argument("--round", type=int, help="round of the model (default: the last)")
    made.add_argument("--base", action="store_true", help="measure the untuned model")
    made.add_argument("--images", type=int, default=10_000, help="at most so many, spread over the classes")
    made.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, as one flat object")
    return made


class Asked:
    """A run's model, the images of a split, and its greedy answers to the evaluation question."""

    def __init__(self, options) -> None:
        limit_threads(options.threads)
        config, path = run_model(options.run, round=options.round, base=options.base)
        self.domain: Domain = load_domain(with_guide(config.data, Path(options.run) / "fieldguide"))
        self.examples: Sequence[Example] = spread(self.domain.split(options.split), options.images)
        if not self.examples:
            raise SeeWhyError(f"{self.domain.name} has no {options.split} images: choose another --split.")
        self.drawn = config.data.source == "fieldguide"
        self.vlm: VisionLanguageModel = load_model(config, path)
        self.stated = StatedConcepts.of(self.domain)
        self.question = self.domain.questions.evaluation
        self.tokens = config.evaluate.max_new_tokens
        self.sampler = BatchSampler(self.vlm, config.model.batch_size, load_image)
        note(machine(self.vlm.device.type, options.threads))
        note(f"{path}, {len(self.examples)} {options.split} images")

    def answers(self, images: Sequence[str]) -> list[str]:
        prompts = [Prompt(image, image, self.question) for image in images]
        return [text for (text,) in self.sampler.sample(prompts, Sampling(max_new_tokens=self.tokens), 0)]


def judge(asked: Asked, examples: Sequence[Example], answers: Sequence[str], heat: Heat, name: str) -> list[Pointed]:
    """Every reason that is true, to be seen, and has a box."""
    judged: list[Pointed] = []
    truth = asked.domain.truth or {}
    with progress(name, total=len(examples), done=0) as advance:
        for example, answer in zip(examples, answers, strict=True):
            boxes = truth[example.id].boxes if example.id in truth else {}
            concepts = [c for c in asked.stated(answer) if c in boxes and mention(c, answer)]
            image = load_image(asked.domain.path(example))
            region = seen_region(asked.vlm, image.size)
            heats_CRK = heat(asked.vlm, asked.question, image, answer, [mention(c, answer) for c in concepts])
            for concept, heat_RK in zip(concepts, heats_CRK, strict=True):
                judged.append(pointed(example.id, heat_RK, boxes[concept], region, image.size))
            advance(1)
    return judged


def main() -> None:
    options = parser("bench.pointing", __doc__ or "")
    options.add_argument("--steps", type=int, default=4, help="steps of the gradient; 0: plain gradient x input")
    options.add_argument("--occlude", type=int, default=24, help="images for occlusion, the slow one; 0: none")
    options.add_argument("--block", type=int, default=2, help="patches a side that are greyed at a time (default: 2)")
    options.add_argument("--bootstrap", type=int, default=1000, help="resamples behind each interval")
    given = options.parse_args()
    asked = Asked(given)
    answers = asked.answers([asked.domain.path(e) for e in asked.examples])
    few = spread(asked.examples, given.occlude)
    answer_of = dict(zip((e.id for e in asked.examples), answers, strict=True))
    ways: dict[str, tuple[Sequence[Example], Heat]] = {
        "gradient": (asked.examples, partial(gradient, steps=given.steps)),
        "occlusion": (few, partial(occlusion, block=given.block, batch_size=64)),
    }
    figures: dict[str, float] = {}
    rows = []
    for name, (examples, heat) in ways.items():
        if not examples:
            continue
        start = time.perf_counter()
        judged = judge(asked, examples, [answer_of[e.id] for e in examples], heat, name)
        if not judged:
            raise SeeWhyError("No answer states a true concept that has a box: there is nothing to measure.")
        seconds = (time.perf_counter() - start) / len(examples)
        found = pointing(judged, resamples=given.bootstrap, seed=0)
        for key, label in (("pointing", name), ("pointing_chance", "chance"), ("pointing_centre", "image centre")):
            low, high = found[f"{key}_interval"]  # pyright: ignore[reportGeneralTypeIssues]
            rows.append((label, found[key], f"{low:.3f}-{high:.3f}", f"{found['reasons']}", f"{found['images']}"))
            suffix = key.removeprefix("pointing")
            figures |= {f"pointing_{name}{suffix}": found[key], f"pointing_{name}{suffix}_low": low}  # pyright: ignore
            figures[f"pointing_{name}{suffix}_high"] = high
        figures[f"seconds_per_image_{name}"] = seconds
    show("Hottest patch in the true box", ("by", "share", "95 %", "reasons", "images"), rows)
    report(figures, given.json)


if __name__ == "__main__":
    main()
