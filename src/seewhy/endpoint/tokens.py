"""Tokens and money: what was spent, and what a job will take."""

from dataclasses import asdict, dataclass
from typing import Any

from seewhy.endpoint.completion import count

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


def about_tokens(text: str) -> int:
    """Tokens of a text, about: four ASCII characters each, and one for each other character."""
    ascii_characters = sum(character.isascii() for character in text)
    return round(ascii_characters / 4) + len(text) - ascii_characters
