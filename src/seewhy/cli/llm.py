"""The options of verbs that ask a language model: which one, how hard, at what price."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from seewhy.endpoint import Endpoint, Prices, Request, Service
from seewhy.errors import SeeWhyError
from seewhy.run.progress import say

HELP = """\
The model is one behind any OpenAI-compatible endpoint: OpenAI's own, or --base_url http://localhost:8000/v1 for vLLM,
SGLang, Ollama and the like. The key is read from the environment (OPENAI_API_KEY, or --key_variable); a server on this
machine needs none. The package is an extra: pip install 'seewhy[llm]'. What it will take is estimated and told first
(--estimate stops there). Every answer is kept as soon as it is there: stopped, or with answers missing, the same
command goes on and pays for nothing twice.
"""


def llm_arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("language model").add_argument
    add("--model", type=str, required=True, help="Name of the model, as its server calls it.")
    add(
        "--base_url", type=str | None, default=None, help="Address of the server, up to and with /v1 (default: OpenAI)."
    )
    add("--key_variable", type=str, default="OPENAI_API_KEY", help="Environment variable with the key.")
    add("--concurrency", type=int, default=4, help="Requests under way at a time.")
    add("--per_minute", type=float | None, default=None, help="Requests begun a minute, at most.")
    add("--timeout", type=float, default=120.0, help="Seconds to wait for one answer.")
    add("--attempts", type=int, default=6, help="Times that a request is sent to a server that is down, slow or busy.")
    add("--backoff", type=float, default=1.0, help="Seconds before the second attempt; doubled each time.")
    add("--max_tokens", type=int, default=4096, help="Longest answer, a reasoning model's thoughts included.")
    add(
        "--price_in",
        type=float | None,
        default=None,
        help="Price of a million tokens in; with price_out, for the cost.",
    )
    add("--price_out", type=float | None, default=None, help="Price of a million tokens out.")
    add("--max_cost", type=float | None, default=None, help="Ask nothing where the estimated cost is above this.")
    add("--estimate", action="store_true", help="Tell what it will take, and stop.")


def endpoint_of(given: Namespace, folder: Path) -> Endpoint:
    """The endpoint that the options name; its answers are kept in `folder`."""
    names = ("model", "base_url", "key_variable", "concurrency", "per_minute", "timeout", "attempts", "backoff")
    return Endpoint(Service(**{name: given[name] for name in (*names, "max_tokens")}), folder)


def prices_of(given: Namespace) -> Prices | None:
    """The prices given, or None. Raises SeeWhyError for one without the other."""
    lacking = [name for name in ("price_in", "price_out") if given[name] is None]
    if len(lacking) == 1 or (lacking and given.max_cost is not None):
        raise SeeWhyError(f"A cost needs --price_in and --price_out; {' and '.join(lacking)} is not given.")
    return None if lacking else Prices(given.price_in, given.price_out)


def announce(endpoint: Endpoint, requests: Sequence[Request], given: Namespace) -> bool:
    """Tell what asking will take; whether to go on. Raises SeeWhyError where it is estimated above max_cost."""
    prices = prices_of(given)
    estimate = endpoint.estimate(requests)
    say(f"Asking {endpoint.service.model} at {endpoint.service.url}. {estimate.told(prices)}")
    if prices and given.max_cost is not None and prices.cost(estimate.usage) > given.max_cost:
        raise SeeWhyError(
            f"The estimated cost, {prices.cost(estimate.usage):.2f}, is above --max_cost {given.max_cost:g}, so "
            "nothing was asked. Raise it, or ask for less with --limit."
        )
    return not given.estimate
