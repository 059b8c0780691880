"""A language model behind an OpenAI-compatible endpoint, asked for JSON; what it answers is kept and paid for once."""

from seewhy.endpoint.answers import Missing, Reply, Request, system, user
from seewhy.endpoint.client import Endpoint, Fatal, Service
from seewhy.endpoint.replies import Estimate, Prices, Usage, object_of

__all__ = [
    "Endpoint",
    "Estimate",
    "Fatal",
    "Missing",
    "Prices",
    "Reply",
    "Request",
    "Service",
    "Usage",
    "object_of",
    "system",
    "user",
]
