"""What a server's reply to one request holds: texts, or what is wrong with it in words."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seewhy.endpoint.completion import ServerFailure, choices_of, count, failure_in, text_of, thought_of, withheld
from seewhy.errors import SeeWhyError


@dataclass(frozen=True)
class Reply:
    """What a server answered to one request; `prompt_tokens` is None where it does not say.

    A text that a refusal or a content filter withheld is empty, and its reason stands in `withheld`.
    """

    texts: tuple[str, ...]
    prompt_tokens: int | None
    withheld: tuple[str, ...] = ()


class Refused(SeeWhyError):
    """The server does not take the request as it is (400 or 422)."""


class Passing(SeeWhyError):
    """What went wrong with a request and may not when it is sent again."""


def read_reply(
    answer: str, where: str, prompt: str, as_error: Callable[[ServerFailure], SeeWhyError]
) -> tuple[Reply, str | None]:
    """Return a reply, and the model that the server says it is.

    `where` begins each error ("The server at ..."), `prompt` is the prompt's id, and `as_error` gives the error for one
    that stands inside the reply. Raises SeeWhyError; Passing for a body that is cut off, and for errors that pass.
    """
    try:
        body: Any = json.loads(answer)
    except (ValueError, RecursionError) as error:
        is_cut = answer.lstrip().startswith("{") and not answer.rstrip().endswith("}")
        kind = Passing if is_cut else SeeWhyError
        raise kind(_no_completion(where, prompt, answer, "it ends half-way" if is_cut else str(error))) from error
    if failure := failure_in(body):
        error = as_error(failure)
        raise Passing(str(error)) if failure.passes else error
    choices = choices_of(body)
    if not choices:
        raise SeeWhyError(_no_completion(where, prompt, answer, "no text in it"))
    texts, reasons = [], []
    for choice in choices:
        text = text_of(choice["message"])
        if reason := withheld(choice):
            reasons.append(reason)
            text = ""
        elif not (text or "").strip() and thought_of(choice["message"]):
            raise SeeWhyError(
                f"{where} thinks instead of answering prompt {prompt}: its reply holds a thought (reasoning_content) "
                f"and no text. Turn the model's thinking off, start the server without a reasoning parser, or use the "
                f"model's instruct variant."
            )
        if text is None:
            raise SeeWhyError(_no_completion(where, prompt, answer, "no text in it"))
        texts.append(text)
    usage = body.get("usage")
    tokens = count(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    named = body.get("model")
    return Reply(tuple(texts), tokens, tuple(reasons)), str(named) if named else None


def _no_completion(where: str, prompt: str, answer: str, why: str) -> str:
    return (
        f"{where} answered prompt {prompt} with something that is no chat completion ({why}): {answer[:300]!r}. Check "
        f"model.engine.base_url, and what stands before the server."
    )


def message_of(said: str) -> str:
    """What a server says in an error's body, on one line and not too long."""
    try:
        body = json.loads(said)
        inner = body.get("error") or body.get("detail") or body
        text = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, AttributeError):
        text = said
    return " ".join(str(text).split())[:400] or "without a word"
