"""Step 2 of a run: the selections of its images, by the rule that its settings name."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seewhy.config import SelectConfig
from seewhy.domain.concepts import ConceptBank
from seewhy.method import select
from seewhy.method.clauses import Said
from seewhy.method.encoder import Encoder, embed_to_file
from seewhy.records import Description, Example, Selection
from seewhy.run.records import Records
from seewhy.run.storage import disk


def selections(
    examples: Sequence[Example], descriptions: Records[Description], bank: ConceptBank, encoder: Encoder,
    config: SelectConfig, noun: str, scratch: Path,
) -> list[Selection]:  # fmt: skip
    """Return the selections of all examples among the concepts of a bank. `scratch` is a folder for embeddings."""
    concepts_CE = encoder.embed_concepts(bank.all_concepts)
    if config.rule == "said":
        said = Said(bank.all_concepts, concepts_CE, noun, encoder).reading(d.text for d in descriptions)
        return select.select_said(examples, descriptions, bank, bank.all_concepts, said, config)
    return _by_infonce(examples, descriptions, bank, concepts_CE, encoder, config, scratch)


def _by_infonce(
    examples: Sequence[Example], descriptions: Records[Description], bank: ConceptBank, concepts_CE: np.ndarray,
    encoder: Encoder, config: SelectConfig, scratch: Path,
) -> list[Selection]:  # fmt: skip
    """Select by InfoNCE, with the embeddings of the descriptions in a file while they are needed."""
    shutil.rmtree(scratch, ignore_errors=True)
    with disk(file := scratch / "descriptions.npy"):
        scratch.mkdir()
        embedded_DE = embed_to_file(file, (d.text for d in descriptions), encoder, count=len(descriptions))
        found = select.select(examples, descriptions, embedded_DE, bank, bank.all_concepts, concepts_CE, config)
        shutil.rmtree(scratch)
    return found
