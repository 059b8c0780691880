"""What the other rules of step 2 select by a run's descriptions, scored anew: a run keeps the scores of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from seewhy.config import SelectionRule
from seewhy.domain.domain import Domain
from seewhy.errors import SeeWhyError
from seewhy.fieldguide.guide import ENCODER
from seewhy.method.clauses import Said
from seewhy.method.encoder import Encoder
from seewhy.method.select import select, select_said
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
    examples, phrases = domain.split("train"), bank.all_concepts
    encoder = Encoder(str(model_source(config.encoder, ENCODER)), run.config.model.device, prefixes=config.prefixes)
    concepts_CE = encoder.embed_concepts(phrases)
    found = {}
    others = [rule for rule in get_args(SelectionRule) if rule != config.rule]
    descriptions_DE = None
    for rule in others:
        settings = replace(config, rule=rule)
        if rule == "said":
            said = Said(phrases, concepts_CE, domain.questions.noun, encoder).reading(d.text for d in descriptions)
            found[rule] = select_said(examples, descriptions, bank, phrases, said, settings)
        else:
            if descriptions_DE is None:
                descriptions_DE = encoder.embed_texts([d.text for d in descriptions])
            found[rule] = select(examples, descriptions, descriptions_DE, bank, phrases, concepts_CE, settings)
    return found
