"""What is changed in a request before it is sent again."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seewhy.endpoint.answers import Message, Request

if TYPE_CHECKING:
    from openai import APIStatusError


def refused_parameter(error: "APIStatusError", sent: Mapping[str, Any]) -> str | None:
    """The parameter of a refused request that can be left out, or None where none is left."""
    optional = [name for name in ("temperature", "max_tokens", "max_completion_tokens") if name in sent]
    named = [name for name in optional if name == error.param or (not error.param and name in error.message)]
    return named[0] if named else "response_format" if "response_format" in sent else None


def demand(request: Request) -> str:
    """The schema in words, for a server that does not enforce it."""
    return f"Answer with one JSON object of this schema, and nothing else: {json.dumps(request.schema)}"


def correction(text: str, wrong: str, request: Request) -> list[Message]:
    """What is said after an answer that cannot be read."""
    if not text.strip():
        return []
    told = f"This cannot be used: {wrong}. {demand(request)}"
    return [{"role": "assistant", "content": text[:2000]}, {"role": "user", "content": told}]
