"""JSON as language models write it: found in their text, and held against the schema that they were given.

Only what our own schemas use is understood: object (every property required, no other allowed), array, string, integer,
number, boolean, and enum. A schema of these keywords alone is taken by every server's strict mode.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from seewhy.endpoint.completion import choices_of, text_of, thought_of, withheld

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
        return f"{where} is {_short(value)}, not one of {_short(schema['enum'])}"
    kind: str = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{where} is {_short(value)}, not of type {kind}"
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


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
