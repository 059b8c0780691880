"""Step 1: the base model describes each image several times without knowing its label: D(X).

1. Each text carries its example and its question; in the research code prompts and images fall out of step.
2. A text that is empty or holds a special token of the model is dropped, and the number of them is logged. An example
   may be left without a description; see `select`.

One call works on one shard of examples.
"""

import logging
from collections import Counter
from collections.abc import Sequence

from seewhy.config import DescribeConfig
from seewhy.domain.domain import Domain
from seewhy.errors import SeeWhyError
from seewhy.method.sampler import Sampler, ask, example_random, text_fault
from seewhy.records import Description, Example, Prompt, Sampling

log = logging.getLogger(__name__)


def describe(
    examples: Sequence[Example],
    domain: Domain,
    sampler: Sampler,
    config: DescribeConfig,
    *,
    seed: int,
    query_seed: int,
    dropped: Counter[str] | None = None,
) -> list[Description]:
    """Sample `samples_per_prompt` texts for each of `prompts_per_image` questions about each example, in order.

    The questions of an example depend on `query_seed` and its id alone; `seed` is for sampling. Reasons why texts were
    dropped are counted in `dropped`. Raises SeeWhyError when there are fewer wordings than questions to ask.
    """
    questions = domain.questions
    if config.prompts_per_image > len(questions.describe):
        raise SeeWhyError(
            f"describe.prompts_per_image is {config.prompts_per_image}, but there are {len(questions.describe)} "
            "describe questions: lower it, or add wordings in data.questions."
        )
    asked = [
        (example, Prompt(f"{example.id}/describe/{number}", domain.path(example), query))
        for example in examples
        for number, query in enumerate(_draw(example, questions.describe, config.prompts_per_image, query_seed))
    ]
    sampling = Sampling(config.samples_per_prompt, config.temperature, config.top_p, config.max_new_tokens)
    texts = ask(sampler, [prompt for _, prompt in asked], sampling, seed)
    described, faults = [], Counter[str]()
    for example, prompt in asked:
        for sample, text in enumerate(texts[prompt.id]):
            fault = text_fault(text, sampler)
            if fault:
                faults[fault] += 1
            else:
                described.append(Description(example.id, prompt.text, sample, text.strip()))
    if faults:
        reasons = ", ".join(f"{fault} ({count})" for fault, count in sorted(faults.items()))
        log.warning("Dropped %d of %d descriptions: %s", faults.total(), faults.total() + len(described), reasons)
    if dropped is not None:
        dropped.update(faults)
    seen = {description.example_id for description in described}
    silent = [example.id for example in examples if example.id not in seen]
    if silent:
        log.warning("%d examples are left without a description, %s the first of them", len(silent), silent[0])
    return described


def _draw(example: Example, wordings: Sequence[str], number: int, seed: int) -> list[str]:
    return example_random(seed, example.id, "describe").sample(wordings, number)
