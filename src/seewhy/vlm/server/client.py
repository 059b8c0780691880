"""Questions about images for an OpenAI-compatible server: chat completions, a bounded number at a time.

What a server does beyond the protocol differs, and silently: `transformers serve` ignores `n` and does not sample
unless its own `generation_config` says so; vLLM and SGLang take top-k and penalties from the model's folder where a
request does not set them. `ChatClient.learn` finds out, by asking, which dialect a server speaks (`DIALECTS`).

Requests follow from prompts, sampling and seed alone. Whether equal requests have equal answers is up to the server:
vLLM seeds each request, `transformers serve` its whole process.
"""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from seewhy.endpoint.client import import_openai
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.run.progress import say
from seewhy.run.storage import digest
from seewhy.words import remember_secret, shown, without_known

if TYPE_CHECKING:
    from seewhy.endpoint.completions import Completion, RequestFailed


@dataclass(frozen=True)
class Reply:
    """What a server answered to one request; `prompt_tokens` is None where it does not say.

    A text that a refusal or a content filter withheld is empty, and its reason stands in `withheld`. So is every text
    of a reply that was no chat completion each time it was asked for: `fault` says what it was.
    """

    texts: tuple[str, ...]
    prompt_tokens: int | None
    withheld: tuple[str, ...] = ()
    fault: SeeWhyError | None = None


class Refused(SeeWhyError):
    """The server does not take the request as it is (400 or 422)."""


KEY_VARIABLE = "OPENAI_API_KEY"
"""Environment variable with the key of a server that was already running; one that the run started has its own."""

TRIAL = Sampling(samples=4, temperature=2.0, max_new_tokens=16)
"""How a server is asked to find out whether it samples: a model that answers so four times alike hardly exists."""


@dataclass(frozen=True)
class Dialect:
    """How a server is told that nothing but temperature and top-p shapes the distribution."""

    name: str
    n: bool = True
    """Whether it gives several answers to one request."""


DIALECTS = tuple(
    Dialect(name, n) for n in (True, False) for name in ("vLLM, SGLang", "transformers serve", "plain OpenAI")
)
"""In the order in which they are tried."""


@dataclass(frozen=True)
class ChatClient:
    """One model of one server. `image_url` gives the URL of the image at a path, whole in a data URL or else."""

    base_url: str
    model: str
    image_url: Callable[[str], str]
    concurrency: int
    timeout: float
    retries: int
    end_tokens: tuple[int, ...] = ()
    """Ids that end an answer, and how they are written (`end_texts`), where a server shows them."""
    end_texts: tuple[str, ...] = ()
    max_length: int | None = None
    """Tokens that the model has positions for."""
    started: bool = True
    """Whether the run started the server: then on this machine, without proxy or certificate."""
    key: str = ""
    """The key that the run gave to the server that it started."""
    dialect: Dialect = DIALECTS[-1]
    template_settings: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the chat template by which thinking is off, for servers that render prompts themselves."""

    def learn(self, prompt: Prompt) -> "ChatClient":
        """This client in the first dialect that the server takes and in which it samples.

        Raises SeeWhyError where it takes none, and where its answers are the same at every temperature.
        """
        refused: SeeWhyError | None = None
        constant: SeeWhyError | None = None
        for dialect in DIALECTS:
            client = replace(self, dialect=dialect)
            one = replace(TRIAL, samples=2 if dialect.n else 1)
            try:
                ((reply,),) = client.replies([prompt], one, seed=0)
            except Refused as error:
                refused = error  # the last and plainest request says best what is wrong
                continue
            if len(reply.texts) < one.samples:
                client = replace(client, dialect=replace(dialect, n=False))
            (texts,) = client.sample([prompt], TRIAL, seed=0)
            if len(set(texts)) > 1:
                return client
            constant = SeeWhyError(
                f"The server at {self.base_url} answered {TRIAL.samples} times {texts[0]!r} at temperature "
                f"{TRIAL.temperature:g}: it does not sample, and rejection sampling needs different answers. Use "
                f"another server, or set model.engine.kind to in_process."
            )
        raise constant or refused or AssertionError("every dialect is taken or refused")

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[str]]:
        """`sampling.samples` texts for each prompt, in order. Raises SeeWhyError, and then has none."""
        once = 1 if sampling.temperature == 0 else sampling.samples
        replies = self._sent(prompts, replace(sampling, samples=once), seed)
        faults = [reply.fault for of_prompt in replies for reply in of_prompt]
        self._tell_faults(faults, may_drop=sampling.temperature > 0)
        found = [[text for reply in of_prompt for text in reply.texts] for of_prompt in replies]
        if short := next((prompt for prompt, texts in zip(prompts, found, strict=True) if len(texts) != once), None):
            raise SeeWhyError(
                f"The server at {self.base_url} gave fewer than the {once} answers to prompt {short.id} that it was "
                f"asked for, which it did before: start the run again, or use another server."
            )
        self._tell_withheld(
            [reason for of_prompt in replies for reply in of_prompt for reason in reply.withheld], found
        )
        return [texts * sampling.samples if once == 1 else texts for texts in found]

    def _tell_faults(self, faults: Sequence[SeeWhyError | None], *, may_drop: bool) -> None:
        """Say how many replies were no chat completions: their texts are empty. Raises the first where most were, or
        where an empty text would count as the model's answer."""
        malformed = [fault for fault in faults if fault]
        if malformed and (not may_drop or 2 * len(malformed) > len(faults)):
            raise malformed[0]
        if malformed:
            times = self.retries + 1
            say(f"{len(malformed)} of {len(faults)} replies of the server, each asked for {times} times, are left "
                f"empty and dropped. The first: {malformed[0]}")  # fmt: skip

    def _tell_withheld(self, reasons: Sequence[str], found: Sequence[Sequence[str]]) -> None:
        """Say how many texts a refusal or a filter withheld: they are empty. Raises SeeWhyError where all are."""
        if not reasons:
            return
        total, ((reason, _), *_) = sum(map(len, found)), Counter(reasons).most_common(1)
        told = f"the server at {self.base_url} withheld {len(reasons)} of {total} texts ({reason})"
        if not any(text for texts in found for text in texts):
            raise SeeWhyError(
                f"{told[0].upper()}{told[1:]}: there is nothing to go on with. Switch the filter off, reword the "
                f"questions, or use another server."
            )
        say(f"{told}; they are left empty and dropped")

    def replies(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[Reply]]:
        """The replies to each prompt: one, or one for each sample where the server gives one answer a request.

        Raises SeeWhyError for any that is no chat completion."""
        sent = self._sent(prompts, sampling, seed)
        for reply in (reply for of_prompt in sent for reply in of_prompt):
            if reply.fault:
                raise reply.fault
        return sent

    def _sent(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[Reply]]:
        """Return the replies, also those that are no chat completions."""
        import_openai("Sampling through a server", "serve")
        from anyio.from_thread import start_blocking_portal

        with start_blocking_portal() as portal:  # a thread of its own: a notebook already runs a loop in this one
            return portal.call(self._replies, prompts, sampling, seed)

    async def _replies(self, prompts: Sequence[Prompt], sampling: Sampling, seed: int) -> list[list[Reply]]:
        openai = import_openai("Sampling through a server", "serve")
        from seewhy.endpoint.bounded import bounded_async

        groups = [list(group) for _, group in groupby(prompts, key=lambda prompt: prompt.image)]
        key = (self.key if self.started else os.environ.get(KEY_VARIABLE, "").strip()) or "none"
        remember_secret(key)
        images, slots = asyncio.Semaphore(self.concurrency), asyncio.Semaphore(self.concurrency)
        async with openai.AsyncOpenAI(
            base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=self.retries,
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=not self.started, verify=not self.started, event_hooks=bounded_async(self.timeout)
            ),
        ) as connection:  # fmt: skip

            async def of_group(group: Sequence[Prompt]) -> list[list[Reply]]:
                async with images:
                    url = await asyncio.to_thread(self.image_url, group[0].image) if group[0].image else None
                    return await _together(of_prompt(prompt, url) for prompt in group)

            async def of_prompt(prompt: Prompt, url: str | None) -> list[Reply]:
                samples = [sampling] if self.dialect.n else [replace(sampling, samples=1)] * sampling.samples
                return await _together(one(prompt, url, asked, number) for number, asked in enumerate(samples))

            async def one(prompt: Prompt, url: str | None, asked: Sampling, number: int) -> Reply:
                body = self.body(prompt, url, asked, request_seed(seed, prompt, number))
                async with slots:
                    return await self._asked(connection, prompt, asked, body)

            found = await _together(of_group(group) for group in groups)
        return [replies for of_group_ in found for replies in of_group_]

    def body(self, prompt: Prompt, url: str | None, sampling: Sampling, seed: int) -> dict[str, Any]:
        """The request of `sampling.samples` answers to one prompt."""
        parts: list[dict[str, Any]] = [{"type": "text", "text": prompt.text}]
        if url is not None:
            parts.insert(0, {"type": "image_url", "image_url": {"url": url}})
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": parts}],
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed,
            **({"n": sampling.samples} if sampling.samples > 1 else {}),
            **self._beyond_the_protocol(sampling),
        }

    def _beyond_the_protocol(self, sampling: Sampling) -> dict[str, Any]:
        template = {"chat_template_kwargs": dict(self.template_settings)} if self.template_settings else {}
        if self.dialect.name == "transformers serve":
            settings: dict[str, Any] = {
                "do_sample": sampling.temperature > 0, "top_k": 0, "num_beams": 1, "repetition_penalty": 1.0,
            }  # fmt: skip
            if self.end_tokens:
                settings["eos_token_id"] = list(self.end_tokens)
            return {"generation_config": json.dumps(settings), **template}
        if self.dialect.name == "plain OpenAI":
            return {}
        ends = {"stop_token_ids": list(self.end_tokens)} if self.end_tokens else {}
        return {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False, **ends, **template}

    async def _asked(self, connection: Any, prompt: Prompt, asked: Sampling, body: dict[str, Any]) -> Reply:
        """Return the reply to one request; send it again after a malformed reply, or a transient failure inside a reply
        of status 200.

        The openai package retries after the other transient failures.
        """
        from seewhy.endpoint.completions import RequestFailed, openai_failures, read_completion

        ask = connection.chat.completions.with_raw_response.create
        for attempt in range(self.retries + 1):
            text = ""
            try:
                with openai_failures():
                    text = (await ask(model=self.model, messages=body["messages"], extra_body=body)).http_response.text
                return self._read(prompt, asked, read_completion(text))
            except RequestFailed as failure:
                malformed = failure.kind in ("cut", "malformed")
                if malformed and attempt == self.retries:
                    return Reply(("",) * asked.samples, None, fault=self._no_completion(prompt, failure.said, text))
                if attempt == self.retries or not (malformed or (failure.is_transient and failure.in_body)):
                    raise self._in_words(failure, prompt) from failure
            await asyncio.sleep(min(8.0, 0.5 * 2**attempt))
        raise AssertionError("the last attempt returns or raises")

    def _in_words(self, failure: "RequestFailed", prompt: Prompt) -> SeeWhyError:
        """Return a failed request as the error that says what to do."""
        if failure.kind == "timeout":
            return SeeWhyError(
                f"The server at {self.base_url} did not answer prompt {prompt.id} within {self.timeout:g} seconds, "
                f"asked {self.retries + 1} times: raise model.engine.timeout or lower model.engine.concurrency."
            )
        if failure.kind == "connection":
            return SeeWhyError(
                f"No server answers at {self.base_url} ({failure.said}): start it, or correct model.engine.base_url."
            )
        return self._refusal(failure.status, failure.said, prompt)

    def _no_completion(self, prompt: Prompt, why: str, text: str) -> SeeWhyError:
        return SeeWhyError(
            f"The server at {self.base_url} answered prompt {prompt.id} with something that is no chat completion "
            f"({why}): {shown(text[:300])!r}. Check model.engine.base_url, and what stands before the server."
        )

    def _refusal(self, status: int, said: str, prompt: Prompt) -> SeeWhyError:
        where = f"The server at {self.base_url}"
        if status in (401, 403):
            return SeeWhyError(f"{where} refuses the key ({status}: {said}): set {KEY_VARIABLE} to one that it takes.")
        if status == 404:
            return SeeWhyError(
                f"{where} has no model {self.model!r}, or no chat completions there (404: {said}): start it for this "
                f"model, or correct model.engine.base_url, which mostly ends in /v1, and model.engine.served_name."
            )
        if status == 429:
            return SeeWhyError(
                f"{where} is asked too often, even after {self.retries} retries (429: {said}): lower "
                f"model.engine.concurrency, and start the run again: it goes on where it stopped."
            )
        if status >= 500:
            return SeeWhyError(
                f"{where} failed at prompt {prompt.id}, even after {self.retries} retries ({status}: {said}): look at "
                f"its log, and start the run again: it goes on where it stopped."
            )
        if "pinned" in said or "does not exist" in said:
            return SeeWhyError(
                f"{where} serves another model than {self.model!r} ({status}: {said}): start it for that."
            )
        return Refused(f"{where} does not take prompt {prompt.id} ({status}: {said}).")

    def _read(self, prompt: Prompt, asked: Sampling, completion: "Completion") -> Reply:
        """Return the texts of a completion. Raises RequestFailed if there is none in a choice, and SeeWhyError if there
        is a thought in its place, if another model answers, and if the prompt was too long for the model."""
        from seewhy.endpoint.completions import RequestFailed

        where, named = f"The server at {self.base_url}", str(completion.model or "")
        texts, reasons = [], []
        for choice in completion.choices:
            if choice.withheld:
                reasons.append(choice.withheld)
            elif not (choice.text or "").strip() and choice.thought:
                raise SeeWhyError(
                    f"{where} thinks instead of answering prompt {prompt.id}: its reply holds a thought "
                    f"(reasoning_content) and no text. Turn the model's thinking off, start the server without a "
                    f"reasoning parser, or use the model's instruct variant."
                )
            elif choice.text is None:
                raise RequestFailed("malformed", "no text in it")
            texts.append("" if choice.withheld else self._stripped(choice.text or ""))
        if named and named != self.model and not named.startswith(f"{self.model}@"):
            raise SeeWhyError(
                f"{where} answers as model {named!r}, not {self.model!r}: start it for that "
                f"model, or, if it is that one under another name, set model.engine.served_name."
            )
        counted = completion.tokens.prompt_tokens
        if self.max_length and counted and counted + asked.max_new_tokens > self.max_length:
            raise SeeWhyError(
                f"Prompt {prompt.id} has {counted} tokens, and {asked.max_new_tokens} more do not fit into the "
                f"{self.max_length} of model {self.model}: shorten it or lower max_new_tokens."
            )
        return Reply(tuple(texts[: asked.samples]), counted, tuple(reasons))

    def _stripped(self, text: str) -> str:
        text = text.strip()
        for end in self.end_texts:
            text = text.removesuffix(end)
        return without_known(text.strip())


def request_seed(seed: int, prompt: Prompt, number: int) -> int:
    """Return the seed of a prompt's `number`th request, in [0, 2**31): it differs by prompt and repeats."""
    return int(digest([seed, prompt.id, number])[:8], 16) >> 1


async def _together(work: Iterable[Any]) -> list[Any]:
    """All results in order; at the first failure the rest is given up, and that failure raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
