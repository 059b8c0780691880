"""A language model behind an OpenAI-compatible endpoint, asked for JSON; what it answers is kept and paid for once."""

from seewhy.endpoint.answers import Missing, Reply, Request, fields_of, system, user
from seewhy.endpoint.client import Endpoint, Fatal, Service
from seewhy.endpoint.usage import Estimate, Prices, Usage

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
    "fields_of",
    "system",
    "user",
]
