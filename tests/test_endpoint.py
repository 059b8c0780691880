"""The client of language models, against a real server on this machine that misbehaves in every way we know of."""

import builtins
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llm_server import Act, Body, LlmServer, fails, free_port, says, serving
from seewhy.endpoint import Endpoint, Missing, Prices, Reply, Request, Service, Usage, fields_of, system, user
from seewhy.endpoint.client import GIVE_UP, GIVE_UP_AT_START, MALFORMED_ATTEMPTS, is_local, retry_delay
from seewhy.endpoint.completions import Form, read_object
from seewhy.endpoint.usage import estimate_tokens
from seewhy.errors import SeeWhyError

SHAPE = fields_of(word=str)
SCHEMA_OF_SHAPE = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def request(name: str) -> Request:
    return Request(name, (system("Answer in JSON."), user(f"Say {name}.")), SHAPE, expected_tokens=5)


def requests(count: int) -> list[Request]:
    return [request(f"word{number}") for number in range(count)]


def service(server: LlmServer | str, **options: Any) -> Service:
    url = server if isinstance(server, str) else server.url
    return Service(**{"model": "judge", "base_url": url, "backoff": 0.01, "attempts": 4, **options})


def asked_for(body: Body) -> str:
    """The word that a request asks for."""
    return body["messages"][1]["content"].split()[1].strip(".")


def echo(body: Body, number: int) -> Act:
    return says({"word": asked_for(body)})


def words(replies: dict[str, Reply | Missing]) -> dict[str, str]:
    return {name: r.value["word"] if isinstance(r, Reply) else r.reason for name, r in replies.items()}


def first_then(first: Act, then: Callable[[Body, int], Act] = echo) -> Callable[[Body, int], Act]:
    """The first request is met so, the rest otherwise."""
    return lambda body, number: first if number == 0 else then(body, number)


def test_every_answer_comes_back_under_its_id_and_is_paid_for_once(tmp_path: Path) -> None:
    with serving(echo) as server:
        asked = requests(9)
        replies = Endpoint(service(server), tmp_path).ask(asked, "test")
        assert list(replies) == [r.id for r in asked]
        assert words(replies) == {r.id: r.id for r in asked}
        again = Endpoint(service(server), tmp_path).ask(list(reversed(asked)), "test")
        assert again == replies
        assert len(server.bodies) == 9
        one = replies["word3"]
        assert isinstance(one, Reply)
        assert (one.model, one.date, one.usage) == ("judge-1", "2027-01-15", Usage(1, 100, 20))
        Endpoint(service(server, model="another"), tmp_path).ask(asked[:1], "test")
        assert len(server.bodies) == 10


def test_the_body_asks_for_the_schema(tmp_path: Path) -> None:
    with serving(echo) as server:
        Endpoint(service(server, max_tokens=77), tmp_path).ask(requests(1), "test")
        (body,) = server.bodies
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA_OF_SHAPE
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0.0, 77)


def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    with serving(echo) as server:
        twins = [request("same"), Request("other", *(getattr(request("same"), n) for n in ("messages", "fields")))]
        assert words(Endpoint(service(server), tmp_path).ask(twins, "test")) == {"same": "same", "other": "same"}
        assert len(server.bodies) == 1


def test_never_more_requests_under_way_than_allowed(tmp_path: Path) -> None:
    with serving(lambda body, number: Act(**{**vars(echo(body, number)), "delay": 0.03})) as server:
        Endpoint(service(server, concurrency=3), tmp_path).ask(requests(12), "test")
        assert 1 < server.most_under_way <= 3


def test_never_more_requests_a_minute_than_allowed(tmp_path: Path) -> None:
    with serving(echo) as server:
        Endpoint(service(server, per_minute=1200), tmp_path).ask(requests(8), "test")
        assert server.times[-1] - server.times[0] >= 7 * 0.05 * 0.9


@pytest.mark.parametrize(
    "act",
    [
        fails(408), fails(409), fails(429), fails(500), fails(503), fails(529),
        Act(body="{}", dies=True), Act(502, "<html>bad gateway</html>"), Act(body={"id": "half", "choi": 1}, dies=True),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(tmp_path: Path, act: Act) -> None:
    with serving(first_then(act)) as server:
        assert words(Endpoint(service(server), tmp_path).ask(requests(1), "test")) == {"word0": "word0"}
        assert len(server.bodies) == 2


def test_retry_after_holds_all_requests_back(tmp_path: Path) -> None:
    with serving(first_then(fails(429, headers={"Retry-After": "0.4"}))) as server:
        replies = Endpoint(service(server, concurrency=1), tmp_path).ask(requests(4), "test")
        assert words(replies) == {r.id: r.id for r in requests(4)}
        assert server.times[1] - server.times[0] >= 0.4


def test_a_slow_server_is_left_after_the_timeout(tmp_path: Path) -> None:
    def slow_for_one(body: Body, number: int) -> Act:
        return Act(body={}, delay=2.5) if asked_for(body) == "word1" else echo(body, number)

    with serving(slow_for_one) as server:
        replies = Endpoint(service(server, timeout=1.0, attempts=2), tmp_path).ask(requests(3), "test")
    assert words(replies) == {"word0": "word0", "word1": "timed out", "word2": "word2"}


def test_a_server_that_is_down_leaves_nothing_but_missing_answers(tmp_path: Path) -> None:
    endpoint = Endpoint(service(f"http://127.0.0.1:{free_port()}/v1", attempts=2, concurrency=2), tmp_path)
    replies = endpoint.ask(requests(200), "test")
    reasons = words(replies)
    assert set(reasons.values()) == {"the server cannot be reached", "not asked"}
    tried = list(reasons.values()).count("the server cannot be reached")
    assert GIVE_UP_AT_START <= tried < 100
    assert not list(tmp_path.rglob("*.json"))


def test_a_server_that_dies_half_way_costs_nothing_twice(tmp_path: Path) -> None:
    with serving(lambda body, number: echo(body, number) if number < 10 else fails(500)) as server:
        half = Endpoint(service(server, attempts=2), tmp_path).ask(requests(60), "test")
        assert sum(isinstance(reply, Reply) for reply in half.values()) == 10
        asked = len(server.bodies)
        assert GIVE_UP <= asked - 10 < 2 * 50
        server.meet = echo
        whole = Endpoint(service(server), tmp_path).ask(requests(60), "test")
        assert words(whole) == {r.id: r.id for r in requests(60)}
        assert len(server.bodies) == asked + 50


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (fails(401, "bad key sk-secret"), "refuses the key in OPENAI_API_KEY"),
        (fails(402), "no credit"),
        (fails(429, code="insufficient_quota"), "no credit"),
        (fails(403), "does not let this key use 'judge'"),
        (fails(404), "has no model 'judge'.*ends in /v1"),
        (fails(429, headers={"Retry-After": "7200"}), "asks to wait for 120 minutes"),
    ],
)
def test_what_no_waiting_mends_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Act, message: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with serving(lambda body, number: echo(body, number) if number < 2 else act) as server:
        with pytest.raises(SeeWhyError, match=message) as error:
            Endpoint(service(server, concurrency=1), tmp_path).ask(requests(30), "test")
        assert "sk-secret" not in str(error.value)
        assert len(server.bodies) == 3
        assert set(server.keys) == {"Bearer sk-secret"}
        server.meet = echo
        Endpoint(service(server), tmp_path).ask(requests(30), "test")
        assert len(server.bodies) == 3 + 28


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (says("I cannot say."), "the answer is no JSON object"),
        (says('{"word": "half'), "the answer is no JSON object"),
        (says(""), "the answer is empty"),
        (says(None), "the answer is empty"),
        (says({"wort": "x"}), "the answer has another form"),
        (says({"word": 3}), "the answer has another form"),
        (says('{"word": "ha', finish="length"), "the answer was cut off"),
        (says(None, refusal="I would rather not."), "the model refused"),
        (says(None, finish="content_filter"), "the server's content filter withheld the answer"),
        (Act(body="no JSON at all"), "the reply is no chat completion"),
        (Act(body={"choices": []}), "the reply is no chat completion"),
        (Act(body="<html>hello</html>", headers={"Content-Type": "text/html"}), "the reply is no chat completion"),
    ],
)  # fmt: skip
def test_nonsense_is_asked_for_again_and_then_missing(tmp_path: Path, act: Act, reason: str) -> None:
    def meet(body: Body, number: int) -> Act:
        return act if asked_for(body) == "word1" else echo(body, number)

    with serving(meet) as server:
        endpoint = Endpoint(service(server), tmp_path)
        assert words(endpoint.ask(requests(3), "test")) == {"word0": "word0", "word1": reason, "word2": "word2"}
        assert len(server.bodies) == 2 + MALFORMED_ATTEMPTS
        assert endpoint.wasted.requests in (0, MALFORMED_ATTEMPTS)  # a body that is no JSON never reaches the count
        server.meet = echo
        assert words(Endpoint(service(server), tmp_path).ask(requests(3), "test"))["word1"] == "word1"
        assert len(server.bodies) == 2 + MALFORMED_ATTEMPTS + 1


def test_the_model_is_told_what_was_wrong_and_its_tokens_are_counted(tmp_path: Path) -> None:
    with serving(first_then(says({"wort": "x"}))) as server:
        reply = Endpoint(service(server), tmp_path).ask(requests(1), "test")["word0"]
        assert isinstance(reply, Reply)
        assert reply.usage == Usage(2, 200, 40)
        *_, said, told = server.bodies[1]["messages"]
        assert said == {"role": "assistant", "content": '{"wort": "x"}'}
        assert "lacks 'word'" in told["content"]


def test_a_model_that_never_answers_is_left_before_it_costs_much(tmp_path: Path) -> None:
    with serving(lambda body, number: says("nonsense")) as server:
        replies = Endpoint(service(server, concurrency=1), tmp_path).ask(requests(100), "test")
        assert len(server.bodies) < 100
    assert set(words(replies).values()) == {"the answer is no JSON object", "not asked"}


def test_a_server_without_usage_says_so(tmp_path: Path) -> None:
    with serving(lambda body, number: says({"word": "x"}, usage=None)) as server:
        reply = Endpoint(service(server), tmp_path).ask(requests(1), "test")["word0"]
    assert isinstance(reply, Reply)
    assert reply.usage == Usage(1, 0, 0, unmetered=1)


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        ("response_format", {"message": "response_format of type json_schema is not supported"}),
        ("response_format", {"message": "unknown field"}),
        ("temperature", {"message": "only the default (1) is supported", "param": "temperature"}),
        ("max_tokens", {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."}),
    ],
)
def test_what_a_server_refuses_is_left_out(tmp_path: Path, refused: str, error: dict[str, str]) -> None:
    def meet(body: Body, number: int) -> Act:
        return Act(400, {"error": error}) if refused in body else echo(body, number)

    with serving(meet) as server:
        replies = Endpoint(service(server, concurrency=1), tmp_path).ask(requests(3), "test")
        assert words(replies) == {r.id: r.id for r in requests(3)}
        assert len(server.bodies) == 4  # learnt once
        last = server.bodies[-1]
        assert ("JSON object of this schema" in last["messages"][-1]["content"]) == (refused == "response_format")
        assert ("max_completion_tokens" in last) == (refused == "max_tokens")


def test_a_question_that_the_server_refuses_is_missing_alone(tmp_path: Path) -> None:
    def meet(body: Body, number: int) -> Act:
        return fails(400, "the prompt is too long") if asked_for(body) == "word1" else echo(body, number)

    with serving(meet) as server:
        replies = Endpoint(service(server), tmp_path).ask(requests(3), "test")
    assert words(replies) == {"word0": "word0", "word1": "the server answered 400", "word2": "word2"}
    assert "too long" in str(replies["word1"])


def test_an_answer_file_that_is_damaged_is_asked_for_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(echo) as server:
        Endpoint(service(server), tmp_path).ask(requests(3), "test")
        damaged, altered, _ = sorted(tmp_path.rglob("*.json"))
        damaged.write_text("{")
        altered.write_text(altered.read_text().replace('"word": "', '"wort": "'))
        assert words(Endpoint(service(server), tmp_path).ask(requests(3), "test")) == {r.id: r.id for r in requests(3)}
        assert len(server.bodies) == 5
    assert str(damaged) in capsys.readouterr().err


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with serving(echo) as server, Endpoint(service(server), tmp_path).answers.lock():
        other = "from seewhy.endpoint.answers import Answers; from pathlib import Path; import sys\n"
        other += "with Answers(Path(sys.argv[1]), 'm', 0.0).lock(): pass"
        done = subprocess.run([sys.executable, "-c", other, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "in use by another process" in done.stderr


def test_ctrl_c_loses_nothing(tmp_path: Path) -> None:
    """A process of its own is interrupted while its answers are under way: each of them is kept."""
    script = textwrap.dedent("""
        import signal, sys
        from pathlib import Path
        from seewhy.endpoint import Endpoint, Request, Service, fields_of, system, user
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        url, folder = sys.argv[1:]
        shape = fields_of(word=str)
        texts = [(f"word{n}", (system("Answer in JSON."), user(f"Say word{n}."))) for n in range(40)]
        asked = [Request(name, messages, shape) for name, messages in texts]
        Endpoint(Service("judge", url, concurrency=2), Path(folder)).ask(asked, "test")
    """)
    begun = threading.Event()

    def meet(body: Body, number: int) -> Act:
        if number == 5:
            begun.set()
        return Act(**{**vars(echo(body, number)), "delay": 0.2})

    with serving(meet) as server:
        process = subprocess.Popen([sys.executable, "-c", script, server.url, str(tmp_path)], stderr=subprocess.PIPE)
        assert begun.wait(120)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=120)
        assert process.returncode != 0
        assert b"Stopping" in told
        paid = len(server.bodies)
        assert 6 <= paid < 40
        assert len(list(tmp_path.rglob("*.json"))) == paid
        server.meet = echo
        Endpoint(service(server), tmp_path).ask(requests(40), "test")
        assert len(server.bodies) == 40


def test_a_missing_key_is_told_before_anything_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Service("judge", "https://llm.example.com/v1", key_variable="MY_KEY")
    with pytest.raises(SeeWhyError, match=r"MY_KEY does not hold a key for https://llm\.example\.com"):
        Endpoint(far, tmp_path).ask(requests(1), "test")
    monkeypatch.setenv("MY_KEY", "k")
    assert far.key == "k"


@pytest.mark.parametrize(
    ("host", "near"),
    [
        *[(h, True) for h in ("localhost", "127.0.0.1", "::1", "10.0.0.7", "192.168.1.3", "gpu-box", "gpu.local")],
        *[(h, False) for h in ("api.openai.com", "8.8.8.8", "local.example.com")],
    ],
)
def test_only_servers_nearby_need_no_key(host: str, near: bool) -> None:  # noqa: FBT001
    assert is_local(host) == near


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_openai(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "openai":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_openai)
    with pytest.raises(SeeWhyError, match=r"pip install 'seewhy\[llm\]'"):
        Endpoint(service("http://localhost:1/v1"), tmp_path).ask(requests(1), "test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": " "}, "no model name"),
        ({"base_url": "localhost:8000"}, "is no address"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"per_minute": -1.0}, "per_minute is -1.0"),
        ({"timeout": float("nan")}, "timeout is nan"),
    ],
)
def test_impossible_services_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SeeWhyError, match=message):
        Service(**{"model": "judge", **options})


def test_the_estimate_counts_what_is_not_answered_yet(tmp_path: Path) -> None:
    with serving(echo) as server:
        endpoint = Endpoint(service(server), tmp_path)
        endpoint.ask(requests(2), "test")
        estimate = endpoint.estimate(requests(6))
        assert (estimate.requests, estimate.answered, estimate.completion_tokens) == (4, 2, 20)
        texts = ["Answer in JSON.", "Say word0.", json.dumps(request("x").form.schema)]
        assert estimate.prompt_tokens == 4 * (sum(map(estimate_tokens, texts)) + 16)
        assert len(server.bodies) == 2
    assert "4 requests (2 more are answered already)" in estimate.sentence(None)
    assert "about 0.60 at the prices" in estimate.sentence(
        Prices(input=1e6 * 0.5 / estimate.prompt_tokens, output=5000.0)
    )
    assert "nothing is paid" in endpoint.estimate(requests(2)).sentence(None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Sure! {"a": {"b": [1, 2]}} Hope this helps.', {"a": {"b": [1, 2]}}),
        ('<think>{"a": 0} or {"a": 1}?</think>{"a": 2}', {"a": 2}),
        ('a {b} {"a": "}"}', {"a": "}"}),
        ('{"a": NaN}', None),
        ('{"a": 1', None),
        ("[1, 2]", None),
        ("", None),
    ],
)
def test_json_is_found_in_a_text(text: str, value: Any) -> None:
    assert read_object(text) == value


class Part(BaseModel):
    size: float


FORM = Form({"name": str, "yes": bool, "score": range(3), "parts": list[Part]})
GOOD: dict[str, Any] = {"name": "x", "yes": False, "score": 2, "parts": [{"size": 1}, {"size": 0.5}]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"name": None}, "'name' is null, not of type string"),
        ({"yes": 1}, "'yes' is 1, not of type boolean"),
        ({"score": True}, "'score' is true, not of type integer"),
        ({"score": 3}, "'score' is 3, not one of [0, 1, 2]"),
        ({"score": "2"}, "\"2\", not of type integer"),
        ({"parts": {}}, "'parts' is {}, not of type array"),
        ({"parts": [{"size": 1}, {}]}, "item 2 of 'parts' lacks 'size'"),
        ({"more": 1}, "has 'more', which was not asked for"),
    ],
)  # fmt: skip
def test_answers_are_held_against_their_schema(change: dict[str, Any], fault: str | None) -> None:
    found = FORM.mismatch(GOOD | change)
    assert found is None if fault is None else fault in (found or "")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": formatdate(1_000_090, usegmt=True)}, 90),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0),
        ({"retry-after": "-4"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_the_pause_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_delay(headers, now=1_000_000) == seconds


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": '{"word": '}, {"type": "text", "text": '"word0"}'}],
        [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": '{"word": "word0"}'}],
    ],
)
def test_a_text_may_come_in_parts(tmp_path: Path, content: Any) -> None:
    act = says("")
    act.body["choices"][0]["message"]["content"] = content
    with serving(lambda body, number: act) as server:
        assert words(Endpoint(service(server), tmp_path).ask(requests(1), "test")) == {"word0": "word0"}


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (
            says(None, reasoning_content="Let me"),
            "the model thought and gave no answer: start its server without a reas",
        ),
        (
            says(None, finish="length", reasoning="Let me"),
            "the answer was cut off: it was all spent on thinking; raise",
        ),
        (says('{"word": "\\ud83d"}'), "the answer has another form: 'word' holds half a character"),
    ],
)
def test_why_there_is_no_answer(tmp_path: Path, act: Act, told: str) -> None:
    with serving(lambda body, number: act) as server:
        (reply,) = Endpoint(service(server), tmp_path).ask(requests(1), "test").values()
    assert str(reply).startswith(told)


def test_a_refusal_among_the_parts(tmp_path: Path) -> None:
    act = says("")
    act.body["choices"][0]["message"]["content"] = [{"type": "refusal", "refusal": "I would rather not."}]
    with serving(lambda body, number: act) as server:
        (reply,) = Endpoint(service(server), tmp_path).ask(requests(1), "test").values()
    assert str(reply) == "the model refused: I would rather not."


@pytest.mark.parametrize("number", ["100", 100.0, -1, "many", 1e400, True, [1], 10**30])
@pytest.mark.parametrize("where", ["prompt_tokens", "created"])
def test_a_number_may_be_anything(tmp_path: Path, where: str, number: Any) -> None:
    act = says({"word": "word0"})
    (act.body if where == "created" else act.body["usage"])[where] = number
    with serving(lambda body, number: act) as server:
        reply = Endpoint(service(server), tmp_path).ask(requests(1), "test")["word0"]
    assert isinstance(reply, Reply)
    assert reply.value == {"word": "word0"}
    if where == "prompt_tokens":
        assert reply.usage == Usage(1, 100 if number in ("100", 100.0) else 0, 20)
    else:
        assert reply.date == ("1970-01-01" if number in ("100", 100.0) else "")


def test_a_number_beyond_all_bounds_is_no_answer() -> None:
    form = Form({"score": float})
    assert form.mismatch(json.loads('{"score": 1e999}')) == "'score' is a number beyond all bounds"
    assert form.mismatch({"score": 0.5}) is None


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "overloaded", "code": 503}},
        {"error": {"message": "slow down", "code": "429"}, "choices": None},
        {"error": "the model runner has stopped"},
        {"choices": [{"index": 0, "finish_reason": "error", "message": {"role": "assistant", "content": "{"}}]},
    ],
)
def test_an_error_inside_a_reply_that_passes_is_tried_again(tmp_path: Path, body: Any) -> None:
    with serving(first_then(Act(body=body))) as server:
        assert words(Endpoint(service(server), tmp_path).ask(requests(1), "test")) == {"word0": "word0"}
        assert len(server.bodies) == 2
        assert len(server.bodies[1]["messages"]) == 2, "the model is not told off for what its server did"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "bad key", "code": 401}, "refuses the key"),
        ({"message": "no such model", "code": 404}, "has no model 'judge'"),
        ({"message": "pay first", "code": 402}, "no credit"),
    ],
)
def test_an_error_inside_a_reply_that_no_waiting_mends(tmp_path: Path, error: Any, told: str) -> None:
    with (
        serving(lambda body, number: Act(body={"error": error})) as server,
        pytest.raises(SeeWhyError, match=rf"{told}.*{error['message']}"),
    ):
        Endpoint(service(server, concurrency=1), tmp_path).ask(requests(9), "test")
    assert len(server.bodies) == 1


def test_a_prompt_that_an_error_inside_a_reply_refuses_is_missing_alone(tmp_path: Path) -> None:
    def meet(body: Body, number: int) -> Act:
        refused = {"error": {"message": "the prompt is too long", "code": 400}}
        return Act(body=refused) if asked_for(body) == "word1" else echo(body, number)

    with serving(meet) as server:
        replies = Endpoint(service(server), tmp_path).ask(requests(3), "test")
    assert words(replies) == {"word0": "word0", "word1": "the server answered 400", "word2": "word2"}
    assert "too long" in str(replies["word1"])


def completion(**changes: Any) -> dict[str, Any]:
    return {**says({"word": "word1"}).body, **changes}


def choice(**message: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}]


DEEP = '{"a":' * 900 + "1" + "}" * 900
MALFORMED: dict[str, Any] = {
    "a list": [1, 2],
    "content is a dict": completion(choices=choice(content={"word": "x"})),
    "content is a list of nothing": completion(choices=choice(content=[1, None, {"type": 5, "text": []}])),
    "choices are a dict": completion(choices={}),
    "choices are lists": completion(choices=[[]]),
    "a finish of no kind": completion(choices=[{"message": {"content": "x"}, "finish_reason": {"length": 1}}]),
    "half a character in a name": completion(choices=choice(content='{"w\\ud800": "x"}')),
    "half a character in a refusal": completion(choices=choice(content=None, refusal="\ud800")),
    "half a character in an error": {"error": {"message": "\ud800"}},
    "a deep refusal": f'{{"choices":[{{"message":{{"content":null,"refusal":{DEEP}}}}}]}}',
    "a deep error": f'{{"error":{DEEP}}}',
    "braces": completion(choices=choice(content="{" * 400_000)),
    "nested braces": completion(choices=choice(content='{"a":' * 80_000)),
    "a list that never ends": completion(choices=choice(content='{"a":' * 60 + "[" + "1," * 200_000)),
    "nothing but braces": "{" * 400_000,
    "a number of 5,000 digits": completion(choices=choice(content='{"word": ' + "1" * 5000 + "}")),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=list(MALFORMED))
def test_a_malformed_reply_is_one_failed_answer(tmp_path: Path, body: Any) -> None:
    def meet(sent: Body, number: int) -> Act:
        return Act(body=body) if asked_for(sent) == "word1" else echo(sent, number)

    started = time.monotonic()
    with serving(meet) as server:
        endpoint = Endpoint(service(server, attempts=2), tmp_path)
        replies = endpoint.ask(requests(3), "test")
        assert isinstance(replies["word1"], Missing)
        assert [name for name, reply in replies.items() if isinstance(reply, Reply)] == ["word0", "word2"]
        assert len(server.bodies) == 2 + 2  # sent a second time, then left
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"model": "judge\ud800"}, {}),
        ({"model": ["judge"]}, {}),
        ({"created": []}, {}),
        ({"usage": {"prompt_tokens": {}, "completion_tokens": []}}, {}),
        ({}, {"Content-Type": "application/json; charset=hex"}),
    ],
)
def test_what_stands_beside_an_answer_may_be_anything(tmp_path: Path, change: Any, headers: Any) -> None:
    with serving(lambda body, _n: Act(body=completion(**change), headers=headers)) as server:
        assert words(Endpoint(service(server), tmp_path).ask(requests(2)[1:], "test")) == {"word1": "word1"}


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {"Content-Type": "text/html; charset=hex"}])
@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_body_that_is_not_what_its_headers_say(tmp_path: Path, status: int, headers: dict[str, str]) -> None:
    """Another reply is asked for, and the job goes on."""
    with serving(first_then(Act(status, "<html>busy</html>", headers))) as server:
        endpoint = Endpoint(service(server), tmp_path)
        assert words(endpoint.ask(requests(1), "test"))["word0"] in ("word0", "the server answered 400")


def test_a_reply_that_drips_is_left_after_the_timeout(tmp_path: Path) -> None:
    """Each byte comes in time, and the reply never ends."""
    with serving(lambda body, _n: Act(body=completion(), drips=0.2)) as server:
        started = time.monotonic()
        replies = Endpoint(service(server, timeout=0.6, attempts=2), tmp_path).ask(requests(1), "test")
        assert words(replies) == {"word0": "timed out"}
        assert time.monotonic() - started < 8


def test_a_reply_that_never_ends_is_not_read(tmp_path: Path) -> None:
    with serving(lambda body, _n: Act(body="1" * (2**25 + 1))) as server:
        (reply,) = Endpoint(service(server, attempts=1), tmp_path).ask(requests(1), "test").values()
    assert "too long" in str(reply)
