"""Ask a language model behind an OpenAI-compatible server for JSON (the extra `llm`).

Every answer is written to the folder of answers before anything else happens with it, so that a stopped job continues
and nothing is paid for twice. A request without a usable answer is `Missing`, with the reason, and is asked again by
the next job; no default takes its place.

    endpoint = Endpoint(Service("gpt-4o-mini"), Path("answers"))
    replies = endpoint.ask([Request("crow", (system("..."), user("...")), fields_of(parts=list[str]))], "drafting")
"""

import json
import math
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from seewhy.endpoint.answers import Answers, Message, Missing, Reply, Request
from seewhy.endpoint.usage import PER_MESSAGE, Estimate, Usage, estimate_tokens
from seewhy.errors import SeeWhyError
from seewhy.run.progress import progress, say
from seewhy.words import plain, remember_secret, remember_secrets_of

if TYPE_CHECKING:
    from openai import OpenAI

    from seewhy.endpoint.completions import Completion, RequestFailed

OPENAI = "https://api.openai.com/v1"
MALFORMED_ATTEMPTS = 3
"""Attempts at a request whose answers cannot be read."""
LONGEST_PAUSE = 600.0
"""Seconds that a server may ask us to wait; with a longer pause the job ends."""
GIVE_UP = 20
"""Consecutive failed requests after which the rest are not sent; `GIVE_UP_AT_START` as long as none was answered."""
GIVE_UP_AT_START = 4


def import_openai(purpose: str = "Asking a language model", extra: str = "llm") -> ModuleType:
    """Return the package openai, which brings pydantic. Raises SeeWhyError naming the extra if it is not installed."""
    try:
        import openai
    except ImportError as error:
        raise SeeWhyError(f"{purpose} needs the package openai: pip install 'seewhy[{extra}]'.") from error
    return openai


class Gate:
    """Limits how many requests start a minute, over all threads. `stop` lets no further request start."""

    def __init__(self, per_minute: float | None, stop: threading.Event) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._stop = stop
        self._next = 0.0
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Wait for a turn. Return False if the job was stopped."""
        while not self._stop.is_set():
            with self._lock:
                now = time.monotonic()
                wait = self._next - now
                if wait <= 0:
                    self._next = now + self._interval
                    return True
            self._stop.wait(wait)
        return False

    def pause(self, seconds: float) -> None:
        """Let no request start for a while."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def retry_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a response asks to wait (Retry-After, in seconds or as a date; retry-after-ms), or None.

    `now` is in seconds since the epoch; `headers` has lower-case keys or ignores case.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now)
    except (LookupError, OverflowError, OSError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Service:
    """A language model, where it is served, and how often it may be asked."""

    model: str
    """Name of the model, as its server calls it."""
    base_url: str | None = None
    """Address of the server, up to and with /v1 (default: the environment's OPENAI_BASE_URL, or OpenAI)."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the key."""
    concurrency: int = 4
    """Number of requests sent at the same time."""
    per_minute: float | None = None
    """Maximum number of requests a minute."""
    timeout: float = 120.0
    """Seconds to wait for one answer."""
    attempts: int = 6
    """How often a request is sent to a server that is down, slow or busy."""
    backoff: float = 1.0
    """Seconds before the second attempt where the server asks for no pause; doubled each time, up to a minute."""
    temperature: float = 0.0
    """Sampling temperature; 0 takes the most likely token."""
    max_tokens: int = 4096
    """Maximum length of an answer in tokens, including a reasoning model's thoughts."""

    def __post_init__(self) -> None:
        remember_secrets_of(self.url)
        if not self.model.strip():
            raise SeeWhyError("There is no model name; say which model to ask with --model.")
        if not self.url.startswith(("http://", "https://")) or not urlsplit(self.url).hostname:
            raise SeeWhyError(f"The base_url {self.url!r} is no address; write it like http://localhost:8000/v1.")
        for name in ("concurrency", "attempts", "timeout", "max_tokens", "per_minute"):
            number = getattr(self, name)
            if number is not None and not 0 < number < float("inf"):
                raise SeeWhyError(f"{name} is {number}, but must be a finite number above 0.")

    @property
    def url(self) -> str:
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI

    @property
    def key(self) -> str:
        """The key, or a stand-in for a server nearby, which may need none. Raises SeeWhyError where it is missing."""
        if key := os.environ.get(self.key_variable, "").strip():
            remember_secret(key)
            return key
        if is_local(urlsplit(self.url).hostname or ""):
            return "none"
        raise SeeWhyError(
            f"The environment variable {self.key_variable} does not hold a key for {self.url}. Set it (export "
            f"{self.key_variable}=...), name another one with --key_variable, or, if that server needs no key, set it "
            "to any text."
        )


class Fatal(SeeWhyError):
    """An error that would fail every request to this server (bad key, unknown model), so retrying is pointless."""


class Endpoint:
    """A service and the folder of its answers. Raises SeeWhyError if the extra `llm` is not installed."""

    def __init__(self, service: Service, folder: Path) -> None:
        import_openai()
        self.service = service
        self.answers = Answers(folder, service.model, service.temperature)
        self.wasted = Usage()
        """Usage of requests in this session that ended without an answer."""
        self._stop = threading.Event()
        self._gate = Gate(service.per_minute, self._stop)
        self._lock = threading.Lock()
        self._left_out: frozenset[str] = frozenset()

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """Estimate what asking will take."""
        open_ = {self.answers.key(r): r for r in requests if self.answers.read(r) is None}
        texts = [m["content"] for r in open_.values() for m in r.messages]
        schemas = [json.dumps(r.form.schema) for r in open_.values()]
        prompt_tokens = sum(map(estimate_tokens, texts + schemas)) + PER_MESSAGE * len(texts)
        answered = len({self.answers.key(request) for request in requests}) - len(open_)
        return Estimate(len(open_), answered, prompt_tokens, sum(r.expected_tokens for r in open_.values()))

    def ask(self, requests: Sequence[Request], name: str) -> dict[str, Reply | Missing]:
        """Return the reply to each request, by its id and in their order; kept answers are not asked for again.

        Raises SeeWhyError if no request can succeed: no key, a refused key, an unknown model. Ctrl-C waits for the
        answers under way, which are paid for, and writes them.
        """
        by_key = {self.answers.key(request): request for request in requests}
        found: dict[str, Reply | Missing] = {}
        with self.answers.lock():
            for key, request in by_key.items():
                if reply := self.answers.read(request):
                    found[key] = reply
            if asked := {key: request for key, request in by_key.items() if key not in found}:
                _ = self._client  # a missing key or package is told before the bar starts
                found |= self._ask_all(asked, name, done=len(found))
        return {request.id: found[self.answers.key(request)] for request in requests}

    def _ask_all(self, asked: Mapping[str, Request], name: str, *, done: int) -> dict[str, Reply | Missing]:
        found: dict[str, Reply | Missing] = {}
        futures: dict[Future[Reply | Missing], str] = {}
        pool = ThreadPoolExecutor(self.service.concurrency)
        answered = failed = 0
        try:
            for key, request in asked.items():
                futures[pool.submit(self._answer, request)] = key
            with progress(name, total=done + len(asked), done=done) as advance:
                for future in as_completed(futures):
                    found[futures[future]] = outcome = future.result()
                    advance(1)
                    if isinstance(outcome, Reply):
                        answered, failed = answered + 1, 0
                        continue
                    failed += 1
                    if failed >= (GIVE_UP if answered else GIVE_UP_AT_START) and not self._stop.is_set():
                        say(f"{name}: {failed} requests in a row failed ({outcome}). The rest are not asked.")
                        self._stop.set()
        except KeyboardInterrupt:
            say("Stopping: answers under way are waited for and kept. Press Ctrl-C again to leave them.")
            raise
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()
        return found

    def _answer(self, request: Request) -> Reply | Missing:
        """Send one request until it is answered, refused, or has failed too often."""
        from seewhy.endpoint.completions import RequestFailed

        messages, left_out, usage = list(request.messages), set(self._left_out), Usage()
        failures = malformed = 0
        fault = Missing("not asked", "the job was stopped before")
        while self._gate.enter():
            sent = self._parameters(request, messages, left_out)
            pause: float | None = None
            try:
                completion = self._complete(sent)
            except RequestFailed as failure:
                if failure.status in (400, 422) and (refused := _refused_parameter(failure, sent)):
                    left_out.add(refused)
                    continue
                pause = retry_delay(failure.headers, time.time())
                self._raise_fatal(failure, pause or 0)
                fault = self._missing(failure)
                if failure.kind == "status" and not failure.is_transient:
                    break
                malformed += failure.kind in ("malformed", "cut")
            else:
                choice, usage = completion.choices[0], usage + completion.usage
                value, wrong = request.form.read(choice)
                if value is not None:
                    with self._lock:
                        self._left_out |= left_out
                    return self.answers.write(request, value, completion, usage)
                kind, _, detail = wrong.partition(": ")
                fault, pause, malformed = Missing(kind, detail), 0.0, malformed + 1
                messages = [*request.messages, *_correction(choice.text or "", wrong, request)]
            failures += 1
            if failures >= self.service.attempts or malformed >= MALFORMED_ATTEMPTS:
                break
            self._wait(pause, failures)
        with self._lock:
            self.wasted += usage
        return fault

    def _complete(self, sent: Mapping[str, Any]) -> "Completion":
        from seewhy.endpoint.completions import openai_failures, read_completion

        with openai_failures():
            reply = self._client.chat.completions.with_raw_response.create(**sent).http_response
        return read_completion(reply.text, reply.headers)

    def _missing(self, failure: "RequestFailed") -> Missing:
        if failure.kind == "timeout":
            return Missing("timed out", f"no answer within {self.service.timeout:g} seconds")
        kinds = {"status": f"the server answered {failure.status}", "connection": "the server cannot be reached"}
        return Missing(kinds.get(failure.kind, "the reply is no chat completion"), failure.said)

    def _wait(self, pause: float | None, failures: int) -> None:
        """Pause all requests for as long as the server asks, or else this one for a growing while."""
        if pause is None:
            longest = min(60.0, self.service.backoff * 2 ** (failures - 1))
            self._stop.wait(random.uniform(longest / 2, longest))
        else:
            self._gate.pause(pause)

    def _parameters(self, request: Request, messages: Sequence[Message], left_out: set[str]) -> dict[str, Any]:
        """Return the body of a request without what this server refuses; the message says a refused schema in words."""
        schema = {"name": "answer", "strict": True, "schema": request.form.schema}
        parameters: dict[str, Any] = {
            "response_format": {"type": "json_schema", "json_schema": schema},
            "temperature": self.service.temperature,
            "max_tokens": self.service.max_tokens,
        }
        if "max_tokens" in left_out:
            parameters["max_completion_tokens"] = self.service.max_tokens
        if "response_format" in left_out:
            content = f"{messages[-1]['content']}\n\n{_demand(request)}"
            messages = [*messages[:-1], {**messages[-1], "content": content}]
        kept = {name: value for name, value in parameters.items() if name not in left_out}
        return {"model": self.service.model, "messages": messages, **kept}

    @cached_property
    def _client(self) -> "OpenAI":
        from seewhy.endpoint.bounded import bounded

        service, openai = self.service, import_openai()
        return openai.OpenAI(
            api_key=service.key, base_url=service.url, timeout=service.timeout, max_retries=0,
            http_client=openai.DefaultHttpxClient(event_hooks=bounded(service.timeout)),
        )  # fmt: skip

    def _raise_fatal(self, failure: "RequestFailed", pause: float) -> None:
        """Raise Fatal for a failure that no waiting, or only a long one, will mend."""
        service, code = self.service, failure.status
        if code == 401:
            what = f"refuses the key in {service.key_variable}. Set a valid one."
        elif code == 402 or failure.code == "insufficient_quota":
            what = "has no credit left for this key. Add some, or use another key."
        elif code == 403:
            what = f"does not let this key use {service.model!r}. Choose another model or key."
        elif code in (404, 405):
            remedy = "Correct --model, or --base_url, which usually ends in /v1."
            what = f"has no model {service.model!r}, or takes no chat completions. {remedy}"
        elif pause > LONGEST_PAUSE:
            what = f"asks to wait for {pause / 60:.0f} minutes. Give the same command again then."
        else:
            return
        self._stop.set()
        raise Fatal(f"{service.url} {what} What is answered already is kept. It said: {failure.said}") from failure


def _refused_parameter(failure: "RequestFailed", sent: Mapping[str, Any]) -> str | None:
    """Return the parameter of a refused request that can be left out, or None if none is left."""
    optional = [name for name in ("temperature", "max_tokens", "max_completion_tokens") if name in sent]
    named = [name for name in optional if name == failure.param or (not failure.param and name in failure.said)]
    return named[0] if named else "response_format" if "response_format" in sent else None


def _demand(request: Request) -> str:
    """Return the schema in words, for a server that does not enforce it."""
    return f"Answer with one JSON object of this schema, and nothing else: {json.dumps(request.form.schema)}"


def _correction(text: str, wrong: str, request: Request) -> list[Message]:
    """Return the messages that follow an answer that cannot be used."""
    if not text.strip():
        return []
    told = plain(f"This cannot be used: {wrong}. {_demand(request)}")
    return [{"role": "assistant", "content": plain(text[:2000])}, {"role": "user", "content": told}]


def is_local(host: str) -> bool:
    """Return whether a host is this machine, or one on a private network."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".localhost"))
    return address.is_private or address.is_loopback
