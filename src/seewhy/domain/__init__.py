"""Labelled images, the concept bank, the questions, the label matcher, and the readers of users' data."""

from seewhy.domain.concepts import ConceptBank, load_concepts
from seewhy.domain.domain import Domain, load_domain
from seewhy.domain.images import load_image
from seewhy.domain.labels import LabelMatcher, lenient_match
from seewhy.domain.loaders.llava import load_replay
from seewhy.domain.questions import Questions

__all__ = [
    "ConceptBank",
    "Domain",
    "LabelMatcher",
    "Questions",
    "lenient_match",
    "load_concepts",
    "load_domain",
    "load_image",
    "load_replay",
]
