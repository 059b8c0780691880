"""Questions, and the folder in which their answers are kept: one JSON file an answer, whole or not there at all.

A file's name is the digest of all that shapes the answer: model, messages, schema, temperature. Where the model is
served is not among it, so a job may go on at another address.

What is changed in a request before it is sent again.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from seewhy.endpoint.replies import Schema, Usage, count, mismatch
from seewhy.errors import SeeWhyError
from seewhy.run.progress import say
from seewhy.run.storage import digest, disk, write_atomically

Message = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What is asked. `id` comes back with the answer and shapes it in no way."""

    id: str
    messages: tuple[Message, ...]
    schema: Schema
    """Of the JSON object asked for (see `structured`)."""
    expected_tokens: int = 200
    """Length of the answer, about: for the estimate alone."""


@dataclass(frozen=True)
class Reply:
    """An answer that fits its schema."""

    value: dict[str, Any]
    model: str
    """The model that answered, as the server calls it."""
    date: str
    """The day on which it did, as 2026-11-30; empty where the server does not say."""
    key: str
    """The name of its file."""
    usage: Usage
    """All that it took, attempts whose answers could not be read included."""


@dataclass(frozen=True)
class Missing:
    """A request without a usable answer."""

    reason: str
    """Its kind, to be counted: 'timed out', 'the answer is no JSON object'."""
    detail: str = ""
    """What the server said."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def _day(created: Any) -> str:
    """The day of a time in seconds since 1970, as 2026-11-30; "" for what is none."""
    seconds = count(created)
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat() if seconds else ""
    except (OSError, OverflowError, ValueError):  # beyond the year 9999
        return ""


@dataclass(frozen=True)
class Answers:
    """The answers of one model in a folder."""

    folder: Path
    model: str
    temperature: float

    def key(self, request: Request) -> str:
        messages = [dict(message) for message in request.messages]
        return digest([self.model, messages, request.schema, self.temperature])

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def read(self, request: Request) -> Reply | None:
        """The answer to a request; None where there is none, or none that can be used."""
        key = self.key(request)
        path = self.path(key)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if not (fault := mismatch(entry["answer"], request.schema)):
                usage = Usage(**entry["usage"])
                return Reply(entry["answer"], entry["served_by"], entry["date"], key, usage)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = str(error)
        say(f"{path} cannot be used ({fault}): its question is asked again.")
        return None

    def write(self, request: Request, value: dict[str, Any], completion: Mapping[str, Any], usage: Usage) -> Reply:
        """Keep an answer; returns it as `read` will."""
        date = _day(completion.get("created"))
        key = self.key(request)
        reply = Reply(value, str(completion.get("model") or self.model), date, key, usage)
        entry = {
            "model": self.model,
            "served_by": reply.model,
            "date": date,
            "messages": [dict(message) for message in request.messages],
            "answer": value,
            "usage": usage.as_dict(),
        }
        write_atomically(self.path(key), (json.dumps(entry, indent=1, ensure_ascii=False) + "\n").encode())
        return reply

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out, which would pay for the same answers."""
        lock = FileLock(self.folder / "lock")
        with disk(self.folder / "lock"):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise SeeWhyError(
                    f"{self.folder} is in use by another process. Wait for it, or stop it: what it paid for is kept."
                ) from None
        try:
            yield
        finally:
            lock.release()


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
