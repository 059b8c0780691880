"""Requests, and the folder in which their answers are kept: one JSON file an answer, written atomically.

A file's name is the digest of all that determines the answer: model, messages, schema, temperature. The address of the
server is not part of it, so a job may continue with another one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from seewhy.endpoint.usage import Usage
from seewhy.errors import SeeWhyError
from seewhy.run.checksums import sealed_json, unsealed_json
from seewhy.run.progress import say
from seewhy.run.storage import digest, disk, write_atomically
from seewhy.words import shown, without_known

if TYPE_CHECKING:
    from seewhy.endpoint.completions import Completion, Form

Message = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """One question to a model. `id` names its answer in the result and does not affect it."""

    id: str
    messages: tuple[Message, ...]
    fields: tuple[tuple[str, Any], ...]
    """The fields of the JSON object to answer with: pairs of a name and a type (see `completions.Form`)."""
    expected_tokens: int = 200
    """Rough length of the answer, for the estimate alone."""

    @property
    def form(self) -> "Form":
        """The form of the answer, as a pydantic model."""
        from seewhy.endpoint.completions import form_of

        return form_of(self.fields)


@dataclass(frozen=True)
class Reply:
    """An answer of the form that was asked for."""

    value: dict[str, Any]
    model: str
    """The model that answered, as the server calls it."""
    date: str
    """The day of the answer, as 2026-11-30; empty if the server does not say."""
    key: str
    """The name of its file."""
    usage: Usage
    """What it took, including attempts whose answers could not be used."""


@dataclass(frozen=True)
class Missing:
    """A request without a usable answer."""

    reason: str
    """The kind of failure, for counting: 'timed out', 'the answer is no JSON object'."""
    detail: str = ""
    """What the server said."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def fields_of(**fields: Any) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a form: name=type, or a range of whole numbers."""
    return tuple(fields.items())


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def _day(seconds: int | None) -> str:
    """Return the day of a time in seconds since 1970, as 2026-11-30; "" if it is unknown or out of range."""
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
        return digest([self.model, messages, request.form.schema, self.temperature])

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def read(self, request: Request) -> Reply | None:
        """Return the answer to a request; None if there is none that can be used."""
        key = self.key(request)
        path = self.path(key)
        try:
            entry = unsealed_json(path.read_bytes())
            if not (fault := request.form.mismatch(entry["answer"])):
                usage = Usage(**entry["usage"])
                return Reply(entry["answer"], entry["served_by"], entry["date"], key, usage)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            fault = str(error)
        say(f"{path} cannot be used ({fault}): its question is asked again.")
        return None

    def write(self, request: Request, value: dict[str, Any], completion: "Completion", usage: Usage) -> Reply:
        """Keep an answer, without a key that the server repeats in it, and return it as `read` will."""
        value = without_known(value)
        date = _day(completion.created)
        key = self.key(request)
        reply = Reply(value, shown(completion.model or self.model), date, key, usage)
        entry = {
            "model": self.model,
            "served_by": reply.model,
            "date": date,
            "messages": [dict(message) for message in request.messages],
            "answer": value,
            "usage": usage.as_dict(),
        }
        write_atomically(self.path(key), sealed_json(entry, indent=1))
        return reply

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep out other processes, which would pay for the same answers."""
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
