"""Read a chat completion as servers really write it: OpenAI, vLLM, SGLang, llama.cpp, Ollama, and what stands between.

A text may be a string, a list of parts, or null beside a thought or a refusal; an error may come with status 200; and
a number may be anything.

JSON as language models write it: found in their text, and held against the schema that they were given.

Only what our own schemas use is understood: object (every property required, no other allowed), array, string, integer,
number, boolean, and enum. A schema of these keywords alone is taken by every server's strict mode.

Tokens and money: what was spent, and what a job will take.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ServerFailure:
    """An error that a server reports in the body of a reply. `status` is None where it names none."""

    status: int | None
    said: str

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status is None or self.status in (408, 409, 429) or self.status >= 500


def choices_of(body: Any) -> list[dict[str, Any]] | None:
    """Return the choices, each with a message; None for what is no chat completion, or one without choices."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        return None
    if not all(isinstance(one, dict) and isinstance(one.get("message"), dict) for one in choices):
        return None
    return choices


def text_of(message: Mapping[str, Any]) -> str | None:
    """Return a message's text, its parts joined; None where it has none. Half of a surrogate pair becomes U+FFFD."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part if isinstance(part, str) else _part_text(part) for part in content]
        content = "".join(texts) if any(text is not None for text in texts) else None
    if not isinstance(content, str):
        return None
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _part_text(part: Any) -> str:
    """The text of one part; a thought, a refusal or an image has none."""
    text = part.get("text") if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text") else None
    return text if isinstance(text, str) else ""


def thought_of(message: Mapping[str, Any]) -> str:
    """Return what a server with a reasoning parser puts beside the text; "" where there is nothing."""
    found = (message.get(key) for key in ("reasoning_content", "reasoning", "thinking"))
    return next((text for text in found if isinstance(text, str) and text.strip()), "")


def withheld(choice: Mapping[str, Any]) -> str | None:
    """Return why a choice holds no text that the model gave to this question: a refusal or a filter; else None."""
    message = choice["message"]
    parts = message.get("content") if isinstance(message.get("content"), list) else []
    refusals = (part.get("refusal") for part in parts if isinstance(part, dict))
    if refusal := message.get("refusal") or next(filter(None, refusals), None):
        return f"the model refused: {_short(refusal)}"
    if choice.get("finish_reason") == "content_filter":
        return "the server's content filter withheld the answer"
    return None


def failure_in(body: Any) -> ServerFailure | None:
    """Return the error in a reply of status 200, at its top or in its first choice; None where there is none."""
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    error = body if body.get("object") == "error" else body.get("error") or first.get("error")
    if not error and first.get("finish_reason") in ("error", "abort"):
        error = f"it broke off (finish_reason {first['finish_reason']})"
    if not error:
        return None
    if not isinstance(error, dict):
        return ServerFailure(None, _short(error))
    status = count(error.get("code")) or count(error.get("status")) or count(error.get("status_code"))
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # of the provider behind a gateway
    said = " ".join(str(text) for text in (error.get("message") or error, raw) if text)
    return ServerFailure(status if status is not None and 400 <= status < 600 else None, _short(said))


def count(value: Any) -> int | None:
    """Return a number of things, or None for what is none: a word, a negative, an infinite or a huge number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if 0 <= number < 2**53 and number.is_integer() else None


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 300 else text[:297] + "..."


Schema = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type[Any], ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def object_of(**properties: Schema) -> Schema:
    """The schema of an object with these properties, all of them required."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in a model's text, fences, thoughts and talk around it left out; None where there is none.

    NaN and infinity are no JSON.
    """
    text = text.rpartition("</think>")[2]
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return value
    return None


def read_completion(completion: Any, schema: Schema) -> tuple[dict[str, Any] | None, str, str]:
    """(value, text, what is wrong) of a chat completion as plain JSON; of value and fault one is None or empty.

    The fault begins with its kind, and goes on after a colon where there is more to say.
    """
    choices = choices_of(completion)
    if not choices:
        return None, "", "the reply is no chat completion"
    message = choices[0]["message"]
    text = text_of(message) or ""
    reason = withheld(choices[0])
    if reason and reason.startswith("the model refused"):
        return None, text, reason
    value = read_object(text)
    if value is not None and not (fault := mismatch(value, schema)):
        return value, text, ""
    thought = thought_of(message)
    if choices[0].get("finish_reason") == "length":
        spent = ": it was all spent on thinking; raise --max_tokens" if thought and not text.strip() else ""
        return None, text, f"the answer was cut off{spent}"
    if reason:
        return None, text, reason
    if thought and not text.strip():
        return None, text, "the model thought and gave no answer: start its server without a reasoning parser"
    if value is None:
        return None, text, "the answer is no JSON object" if text.strip() else "the answer is empty"
    return None, text, f"the answer has another form: {fault}"


def mismatch(value: Any, schema: Schema, where: str = "the answer") -> str | None:
    """How a value differs from a schema, in words; None where it fits."""
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is {_shortened(value)}, not one of {_shortened(schema['enum'])}"
    kind: str = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} is {_shortened(value)}, not of type {kind}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where} is a number beyond all bounds"
    if isinstance(value, str) and not _is_text(value):
        return f"{where} holds half a character (a lone surrogate)"
    if isinstance(value, list):
        items = ((f"item {number} of {where}", item) for number, item in enumerate(value, 1))
        return next((fault for name, item in items if (fault := mismatch(item, schema["items"], name))), None)
    if isinstance(value, dict):
        properties: Mapping[str, Schema] = schema["properties"]
        if lacking := [name for name in properties if name not in value]:
            return f"{where} lacks {lacking[0]!r}"
        if unknown := [name for name in value if name not in properties]:
            return f"{where} has {unknown[0]!r}, which was not asked for"
        parts = ((name, mismatch(value[name], inner, repr(name))) for name, inner in properties.items())
        return next((fault for _, fault in parts if fault), None)
    return None


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8, which half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


PER_MESSAGE = 8
"""Tokens of a message beside its text, about."""


@dataclass(frozen=True)
class Usage:
    """What requests took. Servers count tokens themselves; `unmetered` replies came without a count."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unmetered: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def astuple(usage: Usage) -> tuple[int, int, int, int]:
    return usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.unmetered


def usage_of(completion: Any) -> Usage:
    """The usage that a chat completion (as plain JSON) speaks of."""
    told = completion.get("usage") if isinstance(completion, dict) else None
    if not isinstance(told, dict):
        return Usage(requests=1, unmetered=1)
    prompt, completion_ = count(told.get("prompt_tokens")), count(told.get("completion_tokens"))
    if prompt is None and completion_ is None:
        return Usage(requests=1, unmetered=1)
    return Usage(1, prompt or 0, completion_ or 0)


@dataclass(frozen=True)
class Prices:
    """Money a million tokens, in the user's currency."""

    input: float
    output: float

    def cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1e6


@dataclass(frozen=True)
class Estimate:
    """What a job takes, about: tokens are guessed from the length of the texts."""

    requests: int
    """Requests that are to be sent."""
    answered: int
    """Requests whose answer is there already."""
    prompt_tokens: int
    completion_tokens: int

    @property
    def usage(self) -> Usage:
        return Usage(self.requests, self.prompt_tokens, self.completion_tokens)

    def told(self, prices: Prices | None) -> str:
        """In a sentence, marked as the estimate that it is."""
        if not self.requests:
            return f"All {self.answered} answers are there already: nothing is asked, nothing is paid."
        cost = "" if prices is None else f", about {prices.cost(self.usage):.2f} at the prices given"
        kept = f" ({self.answered} more are answered already)" if self.answered else ""
        return (
            f"{self.requests} requests{kept}: an estimated {self.prompt_tokens:,} tokens in and "
            f"{self.completion_tokens:,} out{cost}."
        )


def estimate_tokens(text: str) -> int:
    """Tokens of a text, about: four ASCII characters each, and one for each other character."""
    ascii_characters = sum(character.isascii() for character in text)
    return round(ascii_characters / 4) + len(text) - ascii_characters
