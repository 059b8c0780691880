"""JSON as language models write it: found in their text, and held against the schema that they were given.

Only what our own schemas use is understood: object (every property required, no other allowed), array, string, integer,
number, boolean, and enum. A schema of these keywords alone is taken by every server's strict mode.
"""

import json
from collections.abc import Mapping
from typing import Any

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
    choices = completion.get("choices") if isinstance(completion, dict) else None
    if not choices or not isinstance(choices[0], dict) or not isinstance(choices[0].get("message"), dict):
        return None, "", "the reply is no chat completion"
    message = choices[0]["message"]
    text = message.get("content") or ""
    if message.get("refusal"):
        return None, text, f"the model refused: {_short(message['refusal'])}"
    value = read_object(text)
    if value is not None and not (fault := mismatch(value, schema)):
        return value, text, ""
    if choices[0].get("finish_reason") == "length":
        return None, text, "the answer was cut off"
    if choices[0].get("finish_reason") == "content_filter":
        return None, text, "the server's content filter withheld the answer"
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


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
