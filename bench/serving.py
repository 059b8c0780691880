"""Does a server answer as the model does in process, and how fast? The shipped base behind `transformers serve`.

Drawings of the field guide's test split, one greedy answer each to the evaluation question, in process and through the
engine `server` with all that a run does: start, parity check, requests, shutdown. `transformers serve` answers one
request after the other, so the rates are those of two programs, not of two machines; vLLM is what a GPU wants.

Needs the extra `serve`.
"""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import measure
from seewhy.config import EngineConfig
from seewhy.domain.images import load_image
from seewhy.domain.questions import Questions
from seewhy.fieldguide.guide import BASE, make_guide
from seewhy.fieldguide.world import make_species
from seewhy.records import Prompt, Sampling
from seewhy.vlm.model import VisionLanguageModel
from seewhy.vlm.sampling import BatchSampler
from seewhy.vlm.server.sampler import ServerSampler

PROGRAM = Path(sys.executable).with_name("transformers")
COMMAND = f"'{PROGRAM}' serve {{model}} --port {{port}} --dtype {{dtype}} --device {{device}}"
QUICK_IMAGES, IMAGES = 24, 200
BATCH = 16


def drawn(folder: Path, count: int) -> list[Prompt]:
    """The evaluation question about `count` drawings, as many of each species as of any other, give or take one."""
    species = [bird.name for bird in make_species()]
    each = math.ceil(count / len(species))
    make_guide(folder, {"test": each})
    question = Questions.for_noun("bird", None).evaluation
    names = [f"{name}/{number:03d}.png" for number in range(each) for name in species][:count]
    return [Prompt(name, str(folder / "images" / "test" / name), question) for name in names]


def timed(sampler: BatchSampler | ServerSampler, prompts: Sequence[Prompt], tokens: int) -> tuple[list[str], float]:
    """Greedy answers, and how many a second."""
    begun = time.perf_counter()
    texts = [text for (text,) in sampler.sample(prompts, Sampling(max_new_tokens=tokens), seed=0)]
    return texts, len(texts) / (time.perf_counter() - begun)


def main(arguments: list[str] | None = None) -> None:
    parser = measure.parser("bench.serving", __doc__ or "")
    parser.add_argument("--images", type=int, help=f"images asked about ({IMAGES}; {QUICK_IMAGES} if quick)")
    parser.add_argument("--new-tokens", type=int, default=128, help="longest answer (default: 128)")
    parser.add_argument("--concurrency", type=int, default=4, help="requests under way at once (default: 4)")
    options = parser.parse_args(arguments)
    measure.begin(options)
    count = options.images or (QUICK_IMAGES if options.quick else IMAGES)
    engine = EngineConfig(kind="server", command=COMMAND, concurrency=options.concurrency)

    def load() -> BatchSampler:
        return BatchSampler(VisionLanguageModel.load(BASE, device=options.device), BATCH, load_image)

    with TemporaryDirectory() as scratch:
        prompts = drawn(Path(scratch) / "guide", count)
        here, here_rate = timed(load(), prompts, options.new_tokens)
        with ServerSampler(load, BASE, engine, Path(scratch) / "server" / "log.txt", load_image) as server:
            begun = time.perf_counter()
            timed(server, prompts[:BATCH], options.new_tokens)  # starts it, and holds it against the model in process
            start = time.perf_counter() - begun
            there, there_rate = timed(server, prompts, options.new_tokens)
    equal = sum(ours == theirs for ours, theirs in zip(here, there, strict=True))
    for prompt, ours, theirs in zip(prompts, here, there, strict=True):
        if ours != theirs:
            measure.note(f"{prompt.id}\n  in process: {ours}\n  the server: {theirs}")
    measure.show(
        f"Greedy answers to {count} images, {len(set(here))} different ones",
        ["", "equal", "answers a second"],
        [["in process", "", here_rate], ["transformers serve", f"{equal} of {count}", there_rate]],
    )
    figures = {
        "serving_images": float(count),
        "serving_equal_share": equal / count,
        "serving_different_answers": float(len(set(here))),
        "serving_answers_per_second_in_process": here_rate,
        "serving_answers_per_second_server": there_rate,
        "serving_seconds_to_first_answers": start,
    }
    measure.report(figures, options.json)


if __name__ == "__main__":
    main()
