"""Chat completions as servers really write them (OpenAI, vLLM, SGLang, llama.cpp, Ollama, gateways), and failures.

A text may be a string, a list of parts, or null beside a thought or a refusal; an error may come with status 200; and a
number may be anything. The models here accept all of that. The JSON in an answer must have its form exactly.

This module needs the packages openai and pydantic (`client.import_openai` names the extras), so it is imported late.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal

import openai
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    create_model,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from seewhy.endpoint.usage import Usage
from seewhy.words import shown

_SHOWN = 300
"""Characters of a server's message that errors repeat."""
MOST_BRACES = 64
MOST_CHARACTERS = 2**17
"""How far and at how many places of a text a JSON object is looked for."""


@dataclass(eq=False)
class RequestFailed(Exception):
    """A request without a chat completion: an error status, no reply in time, no connection, or a malformed body.

    An error in the body of a reply with status 200 (`in_body`) has the kind "status" too. "cut" is a body that ends
    half-way.
    """

    kind: Literal["status", "timeout", "connection", "malformed", "cut"]
    said: str
    status: int = 0
    in_body: bool = False
    code: Any = None
    param: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in (408, 409, 429) or self.status >= 500 or self.kind in ("timeout", "connection", "cut")


def _or_none(value: Any, validate: Any) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


def _without_lone_surrogates(value: Any) -> Any:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def count(value: Any) -> int | None:
    """Return a number of things, or None for a word, a negative, an infinite or a huge number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if 0 <= number < 2**53 and number.is_integer() else None


_Lenient = WrapValidator(_or_none)
_Text = Annotated[str, BeforeValidator(_without_lone_surrogates)]
_Count = Annotated[int | None, BeforeValidator(count)]


class Part(BaseModel):
    """One part of a message: a text, a thought, a refusal, an image, ..."""

    type: str = "text"
    text: Annotated[_Text | None, _Lenient] = None
    refusal: Any = None


class Message(BaseModel):
    """The message of a choice."""

    content: Annotated[_Text | list[Annotated[_Text | Part | None, _Lenient]] | None, _Lenient] = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    thinking: Any = None


class Choice(BaseModel):
    """One answer of a completion."""

    message: Message
    finish_reason: Any = None

    @property
    def text(self) -> str | None:
        """The text, its parts joined; None if there is none. Half of a surrogate pair becomes U+FFFD."""
        content = self.message.content
        if not isinstance(content, list):
            return content
        texts = [
            (part.text or "") if isinstance(part, Part) and part.type in ("text", "output_text") else part
            for part in content
        ]
        return "".join(text for text in texts if isinstance(text, str)) if content else None

    @property
    def thought(self) -> str:
        """What a server with a reasoning parser returns beside the text; "" if there is nothing."""
        message = self.message
        thoughts = (message.reasoning_content, message.reasoning, message.thinking)
        return next((text for text in thoughts if isinstance(text, str) and text.strip()), "")

    @property
    def withheld(self) -> str | None:
        """Why this is not the model's answer to the question: a refusal or a content filter; else None."""
        content = self.message.content
        parts = [part for part in content if isinstance(part, Part)] if isinstance(content, list) else []
        if refusal := self.message.refusal or next((part.refusal for part in parts if part.refusal), None):
            return f"the model refused: {_one_line(refusal)}"
        if self.finish_reason == "content_filter":
            return "the server's content filter withheld the answer"
        return None


class Tokens(BaseModel):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class Completion(BaseModel):
    """A reply with at least one choice."""

    choices: Annotated[list[Choice], Field(min_length=1)]
    model: Annotated[_Text | None, _Lenient] = None
    created: _Count = None
    tokens: Annotated[Tokens, BeforeValidator(lambda value: value if isinstance(value, dict) else {})] = Field(
        default_factory=Tokens, alias="usage"
    )

    @property
    def usage(self) -> Usage:
        prompt, completion = self.tokens.prompt_tokens, self.tokens.completion_tokens
        if prompt is None and completion is None:
            return Usage(requests=1, unmetered=1)
        return Usage(1, prompt or 0, completion or 0)


@contextmanager
def openai_failures() -> Iterator[None]:
    """Raise what goes wrong in openai's client as `RequestFailed`."""
    try:
        yield
    except openai.APIStatusError as error:
        raise RequestFailed(
            "status", _message_of(error.response.text), status=error.status_code, code=error.code,
            param=error.param, headers=error.response.headers,
        ) from error  # fmt: skip
    except openai.APITimeoutError as error:
        raise RequestFailed("timeout", _one_line(error)) from error
    except openai.APIConnectionError as error:
        raise RequestFailed("connection", _one_line(error.__cause__ or error)) from error
    except (
        openai.OpenAIError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:  # in a reply's own headers
        raise RequestFailed("malformed", _one_line(error)) from error


def read_completion(text: str, headers: Mapping[str, str] | None = None) -> Completion:
    """Return the completion in the body of a reply. Raises RequestFailed if there is none, or an error in its place."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith("{") and not text.rstrip().endswith("}"):
            raise RequestFailed("cut", "it ends half-way") from error
        raise RequestFailed("malformed", str(error)) from error
    if failure := _failure_in(body):
        failure.headers = headers or {}
        raise failure
    try:
        return Completion.model_validate(body)
    except ValidationError as error:
        raise RequestFailed("malformed", "no text in it") from error


def _failure_in(body: Any) -> RequestFailed | None:
    """Return the error in a reply of status 200, at its top or in its first choice."""
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    error = body if body.get("object") == "error" else body.get("error") or first.get("error")
    if not error and first.get("finish_reason") in ("error", "abort"):
        error = f"it broke off (finish_reason {first['finish_reason']})"
    if not error:
        return None
    error = error if isinstance(error, dict) else {"message": error}
    status = next(filter(None, (count(error.get(key)) for key in ("code", "status", "status_code"))), 0)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None  # of the provider behind a gateway
    said = " ".join(_one_line(text) for text in (error.get("message") or error, raw) if text)
    return RequestFailed(
        "status", _one_line(said), status=status if 400 <= status < 600 else 500, in_body=True,
        code=error.get("code"), param=error.get("param"),
    )  # fmt: skip


def _message_of(text: str) -> str:
    """Return what the body of an error says, on one line of bounded length."""
    try:
        body = json.loads(text)
        inner = body.get("error") or body.get("detail") or body
        text = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, AttributeError, RecursionError):
        pass
    return _one_line(text) or "without a word"


def _one_line(value: Any) -> str:
    try:
        text = str(value)
    except RecursionError:
        text = "(nested too deeply to be shown)"
    text = shown(" ".join(text[: 20 * _SHOWN].split()))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Form:
    """The form of a JSON object: a strict pydantic model of its fields, all of them required and no others allowed.

    The kind of a field is a Python type, or a range of whole numbers.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
        kinds: dict[str, Any] = {name: (_annotated(kind), ...) for name, kind in fields.items()}
        self._model = create_model("Answer", __config__=config, **kinds)
        self.schema = self._model.model_json_schema(schema_generator=_Untitled)
        del self.schema["title"]

    def mismatch(self, value: Any) -> str | None:
        """Return how a value differs from the form, in words, or None."""
        try:
            self._model.model_validate(value)
        except ValidationError as error:
            return _without_lone_surrogates(_in_words(error.errors(include_url=False)[0]))
        return None

    def read(self, choice: Choice) -> tuple[dict[str, Any] | None, str]:
        """Return the value in an answer, or None and what is wrong: its kind and, after a colon, more about it."""
        text, withheld = choice.text or "", choice.withheld
        if withheld and withheld.startswith("the model refused"):
            return None, withheld
        value = read_object(text)
        if value is not None and not (fault := self.mismatch(value)):
            return value, ""
        only_thought = choice.thought and not text.strip()
        if choice.finish_reason == "length":
            spent = ": it was all spent on thinking; raise --max_tokens" if only_thought else ""
            return None, f"the answer was cut off{spent}"
        if withheld:
            return None, withheld
        if only_thought:
            return None, "the model thought and gave no answer: start its server without a reasoning parser"
        if value is None:
            return None, "the answer is no JSON object" if text.strip() else "the answer is empty"
        return None, f"the answer has another form: {fault}"


def _is_text(value: str) -> str:
    if value != _without_lone_surrogates(value):
        raise PydanticCustomError("surrogate", "half a character")
    return value


_String = Annotated[str, AfterValidator(_is_text)]


def _annotated(kind: Any) -> Any:
    if not isinstance(kind, range):
        return _String if kind is str else list[_String] if kind == list[str] else kind

    def is_one(value: int) -> int:
        if value not in kind:
            raise PydanticCustomError("enum", "not one of {expected}", {"expected": str(list(kind))})
        return value

    return Annotated[int, AfterValidator(is_one), WithJsonSchema({"type": "integer", "enum": list(kind)})]


@cache
def form_of(fields: tuple[tuple[str, Any], ...]) -> Form:
    """Return the form with these fields; built once."""
    return Form(dict(fields))


def _in_words(error: Any) -> str:
    *outer, last = error["loc"] or ("",)
    place, kind = _place(error["loc"]), error["type"]
    if kind == "missing":
        return f"{_place(outer)} lacks {last!r}"
    if kind == "extra_forbidden":
        return f"{_place(outer)} has {last!r}, which was not asked for"
    if kind == "surrogate":
        return f"{place} holds half a character (a lone surrogate)"
    if kind == "finite_number":
        return f"{place} is a number beyond all bounds"
    value = json.dumps(error["input"], ensure_ascii=False)
    value = value if len(value) <= 60 else value[:57] + "..."
    if kind == "enum":
        return f"{place} is {value}, not one of {error['ctx']['expected']}"
    return f"{place} is {value}, not of type {_TYPES.get(kind, kind)}"


_TYPES = {
    "string_type": "string", "bool_type": "boolean", "int_type": "integer", "float_type": "number",
    "list_type": "array", "model_type": "object", "model_attributes_type": "object",
}  # fmt: skip


def _place(loc: Any) -> str:
    place = "the answer"
    for step in loc:
        place = f"item {step + 1} of {place}" if isinstance(step, int) else repr(step)
    return place


def read_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object in a model's text, ignoring fences, thoughts and talk around it; None without one.

    It begins at one of the first `MOST_BRACES` braces and ends within `MOST_CHARACTERS`. NaN and infinity are not JSON.
    """
    text = text.rpartition("</think>")[2][:MOST_CHARACTERS]
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    start = text.find("{")
    for _ in range(MOST_BRACES):
        if start < 0:
            break
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
