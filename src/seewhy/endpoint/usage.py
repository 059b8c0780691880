"""Tokens and money: what requests took, and what a job will take."""

from dataclasses import asdict, astuple, dataclass

PER_MESSAGE = 8
"""Tokens of a message beside its text, roughly."""


@dataclass(frozen=True)
class Usage:
    """What requests took, by the server's own count of tokens; `unmetered` replies came without one."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unmetered: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Prices:
    """Prices of a million tokens, in the user's currency."""

    input: float
    output: float

    def cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1e6


@dataclass(frozen=True)
class Estimate:
    """What a job will take. Tokens are guessed from the length of the texts."""

    requests: int
    """Requests to be sent."""
    answered: int
    """Requests whose answer is there already."""
    prompt_tokens: int
    completion_tokens: int

    @property
    def usage(self) -> Usage:
        return Usage(self.requests, self.prompt_tokens, self.completion_tokens)

    def sentence(self, prices: Prices | None) -> str:
        """Return the estimate as a sentence."""
        if not self.requests:
            return f"All {self.answered} answers are there already: nothing is asked, nothing is paid."
        cost = "" if prices is None else f", about {prices.cost(self.usage):.2f} at the prices given"
        kept = f" ({self.answered} more are answered already)" if self.answered else ""
        return (
            f"{self.requests} requests{kept}: an estimated {self.prompt_tokens:,} tokens in and "
            f"{self.completion_tokens:,} out{cost}."
        )


def estimate_tokens(text: str) -> int:
    """Return roughly how many tokens a text has: one for four ASCII characters, and one for each other character."""
    ascii_characters = sum(character.isascii() for character in text)
    return round(ascii_characters / 4) + len(text) - ascii_characters
