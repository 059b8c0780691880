"""What the other rules of step 2 select by a run's descriptions, scored anew: a run keeps the scores of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import get_args

import numpy as np

from seewhy.config import SelectionRule
from seewhy.domain.domain import Domain
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import ENCODER
from seewhy.method.encoder import Encoder
from seewhy.method.select import select_by_rule
from seewhy.records import Description, Selection
from seewhy.run.finished import FinishedRun
from seewhy.run.progress import say
from seewhy.run.sources import model_source
from seewhy.run.stages import StageKey

MOST_TEXTS = 50_000
"""Descriptions that are scored again while somebody waits: some minutes on two CPU cores."""


def selected_by_other_rules(run: FinishedRun, domain: Domain) -> Mapping[str, Sequence[Selection]]:
    """Return rule -> the selections of the train images, for each rule but the run's own, at the run's thresholds.

    Raises SeeWhyError for more than MOST_TEXTS descriptions, and where the encoder cannot be read.
    """
    config, bank = run.config.select, domain.concepts
    descriptions = run.complete_records(StageKey("describe"), Description)
    if len(descriptions) > MOST_TEXTS:
        raise SeeWhyError(
            f"{len(descriptions):,} descriptions are too many to score again while you wait ({MOST_TEXTS:,} are not): "
            "make a run with another select.rule, which takes over the descriptions, and review that one."
        )
    say(f"Scoring {len(descriptions):,} descriptions by the other rules.")
    encoder = Encoder(str(model_source(config.encoder, ENCODER)), run.config.model.device, prefixes=config.prefixes)

    @cache
    def embedded() -> np.ndarray:
        return encoder.embed_texts([d.text for d in descriptions])

    examples, noun = domain.split("train"), domain.questions.noun
    return {
        rule: select_by_rule(examples, descriptions, bank, noun, encoder, embedded, replace(config, rule=rule))
        for rule in get_args(SelectionRule)
        if rule != config.rule
    }
