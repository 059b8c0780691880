"""Read a chat completion as servers really write it: OpenAI, vLLM, SGLang, llama.cpp, Ollama, and what stands between.

A text may be a string, a list of parts, or null beside a thought or a refusal; an error may come with status 200; and
a number may be anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
