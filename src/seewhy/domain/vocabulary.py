"""The words that a run knows: its labels, their aliases and their concepts, as they were when it was made.

A run writes them into its folder, so that whoever reads a finished run reads its texts as the run itself did: by the
same matcher and the same concepts, although the bank on disk may have changed, or the images be gone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from seewhy.config import DataConfig
from seewhy.domain.concepts import ConceptBank, fit_concepts
from seewhy.domain.domain import Domain, read_bank, with_aliases
from seewhy.domain.labels import LabelMatcher
from seewhy.domain.loaders.layouts import read_data
from seewhy.errors import SeeWhyError

FILE = "vocabulary.json"
"""The file in a run folder."""


@dataclass(frozen=True)
class Vocabulary:
    """The labels of a run, sorted, and its concept bank with all aliases."""

    labels: tuple[str, ...]
    bank: ConceptBank

    @classmethod
    def of(cls, domain: Domain) -> "Vocabulary":
        """That of a domain that has been loaded."""
        return cls(domain.labels, domain.concepts)

    @classmethod
    def of_run(cls, run: Path, data: DataConfig) -> "Vocabulary":
        """That of a run: from its folder, or for a run that has not written it down from its data as they are now.

        Raises SeeWhyError where the file is damaged, or there is none and the data cannot be read. Opens no image.
        """
        path = run / FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            concepts = {str(label): tuple(map(str, phrases)) for label, phrases in found["concepts"].items()}
            aliases = {str(label): tuple(map(str, names)) for label, names in found["aliases"].items()}
            return cls(tuple(map(str, found["labels"])), ConceptBank(concepts, aliases))
        except FileNotFoundError:
            reading = read_data(data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SeeWhyError(
                f"{path} cannot be read ({error}), so the labels of {run} are not known. Delete it and start the run "
                "again: that writes it anew and computes nothing twice."
            ) from error
        labels = sorted({row.label for row in reading.rows})
        bank, _ = fit_concepts(read_bank(data, reading)[0], labels)
        return cls(tuple(labels), with_aliases(bank, reading.aliases))

    def record(self) -> Mapping[str, Any]:
        """The content of the file."""
        return {
            "labels": list(self.labels),
            "concepts": {label: list(phrases) for label, phrases in self.bank.items()},
            "aliases": {label: list(names) for label, names in self.bank.aliases.items()},
        }

    @cached_property
    def matcher(self) -> LabelMatcher:
        """The run's own matcher, as `Domain.matcher` is."""
        return LabelMatcher(self.labels, self.bank.aliases, self.bank)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels and aliases."""
        return (*self.labels, *(name for names in self.bank.aliases.values() for name in names))
