"""Requests to a server: what is sent, what is made of each kind of reply, and of none."""

import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_server import Reply, completion, question_of, random_words, serving
from seewhy.errors import SeeWhyError
from seewhy.records import Prompt, Sampling
from seewhy.vlm.server.client import DIALECTS, KEY_VARIABLE, ChatClient, request_seed

pytest.importorskip("openai", reason="the client is an extra: pip install 'seewhy[serve]'")

PROMPTS = [Prompt("a", "1.png", "Name it."), Prompt("b", "1.png", "Why?"), Prompt("c", "", "Say yes.")]
ONE = PROMPTS[2:]
GREEDY, DRAWN = Sampling(max_new_tokens=9), Sampling(samples=3, temperature=0.7, top_p=0.6, max_new_tokens=9)
AT_ONCE = {"retry-after-ms": "1"}


def client(url: str, **settings: Any) -> ChatClient:
    given = {"concurrency": 4, "timeout": 60.0, "retries": 1} | settings
    return ChatClient(url, "birds", lambda path: f"data:{path}", **given)


def test_texts_come_in_the_order_of_the_prompts_whatever_the_order_of_replies():
    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        question, url = question_of(body)
        time.sleep(0.2 if question == "Name it." else 0)
        return completion(body, *(f" {question} {url} {i}\n" for i in range(body.get("n", 1))))

    with serving(answer) as url:
        texts = client(url, dialect=DIALECTS[0]).sample(PROMPTS, replace(DRAWN, samples=2), seed=0)
    assert texts == [
        ["Name it. data:1.png 0", "Name it. data:1.png 1"],
        ["Why? data:1.png 0", "Why? data:1.png 1"],
        ["Say yes.  0", "Say yes.  1"],
    ]


def test_no_prompts_no_requests():
    assert client("http://localhost:9/v1").sample([], GREEDY, seed=0) == []


def recorded(dialect: int, sampling: Sampling, seed: int = 5, **settings: Any) -> list[dict[str, Any]]:
    """The requests for PROMPTS, in an order of their own."""
    bodies: list[dict[str, Any]] = []

    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        bodies.append(dict(body))
        return completion(body, *["yes"] * body.get("n", 1))

    with serving(answer) as url:
        texts = client(url, dialect=DIALECTS[dialect], **settings).sample(PROMPTS, sampling, seed)
    assert texts == [["yes"] * sampling.samples] * len(PROMPTS)
    return sorted(bodies, key=json.dumps)


def test_one_request_has_all_samples_where_the_server_can():
    bodies = recorded(2, DRAWN)
    assert [body.pop("seed") for body in bodies] == [request_seed(5, prompt, 0) for prompt in PROMPTS]
    image = {"type": "image_url", "image_url": {"url": "data:1.png"}}
    contents = [
        [image, {"type": "text", "text": "Name it."}],
        [image, {"type": "text", "text": "Why?"}],
        [{"type": "text", "text": "Say yes."}],
    ]
    assert bodies == [
        {
            "model": "birds", "messages": [{"role": "user", "content": content}], "max_tokens": 9, "temperature": 0.7,
            "top_p": 0.6, "n": 3,
        }
        for content in contents
    ]  # fmt: skip


def test_separate_requests_have_seeds_of_their_own():
    bodies = recorded(5, DRAWN)
    assert len(bodies) == 9
    assert not any("n" in body for body in bodies)
    assert len({body["seed"] for body in bodies}) == 9
    assert all(0 <= body["seed"] < 2**31 for body in bodies)


@pytest.mark.parametrize("dialect", [0, 3])
def test_the_same_call_sends_the_same_requests(dialect: int):
    first = recorded(dialect, DRAWN)
    assert recorded(dialect, DRAWN) == first
    assert recorded(dialect, DRAWN, seed=6) != first


@pytest.mark.parametrize("dialect", range(6))
def test_greedy_is_asked_once(dialect: int):
    assert [body["temperature"] for body in recorded(dialect, replace(GREEDY, samples=3))] == [0, 0, 0]


def test_nothing_but_temperature_and_top_p_shapes_the_distribution():
    vllm = recorded(0, DRAWN, end_tokens=(2, 7))[0]
    assert {key: vllm[key] for key in ("top_k", "min_p", "repetition_penalty", "skip_special_tokens")} == {
        "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "skip_special_tokens": False,
    }  # fmt: skip
    assert vllm["stop_token_ids"] == [2, 7]
    drawn, greedy = (json.loads(recorded(1, s, end_tokens=(2, 7))[0]["generation_config"]) for s in (DRAWN, GREEDY))
    assert drawn == {"do_sample": True, "top_k": 0, "num_beams": 1, "repetition_penalty": 1.0, "eos_token_id": [2, 7]}
    assert greedy == {**drawn, "do_sample": False}


def test_no_more_requests_at_once_than_allowed():
    lock, at_once, most = threading.Lock(), 0, 0

    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1
        return completion(body, "yes")

    with serving(answer) as url:
        prompts = [Prompt(str(i), f"{i // 4}.png", "Name it.") for i in range(40)]
        assert client(url, concurrency=3).sample(prompts, GREEDY, seed=0) == [["yes"]] * 40
    assert most == 3


def test_end_tokens_and_spaces_around_a_text_are_taken_off():
    with serving(lambda body, _headers: completion(body, " A crow. </s>\n")) as url:
        assert client(url, end_texts=("</s>",)).sample(ONE, GREEDY, seed=0) == [["A crow."]]


@pytest.mark.parametrize("fault", [(429, AT_ONCE, "slow down"), (503, AT_ONCE, "busy"), (500, AT_ONCE, "{}")])
def test_a_passing_fault_is_retried(fault: Reply):
    replies = [fault, fault]
    with serving(lambda body, _headers: replies.pop() if replies else completion(body, "yes")) as url:
        assert client(url, retries=2).sample(ONE, GREEDY, seed=0) == [["yes"]]


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ((401, {}, '{"error": {"message": "bad key"}}'), r"refuses the key \(401: bad key\): set OPENAI_API_KEY"),
        ((403, {}, "no"), r"refuses the key \(403: no\)"),
        ((404, {}, '{"detail": "Not Found"}'), r"no model 'birds'.*404: Not Found.*/v1.*served_name"),
        ((400, {}, '{"message": "too long"}'), r"does not take prompt c \(400: too long\)"),
        ((400, {}, '{"detail": "Server is pinned to \'cats\'"}'), r"serves another model than 'birds'"),
        ((422, {}, ""), r"does not take prompt c \(422: without a word\)"),
        ((429, AT_ONCE, "quota"), r"asked too often, even after 1 retries \(429: quota\): lower model.engine.concurr"),
        ((500, AT_ONCE, "oh"), r"failed at prompt c, even after 1 retries \(500: oh\): look at its log"),
        ((200, {}, '{"choices": ['), "no chat completion"),
        ((200, {"Content-Type": "text/html"}, "<html>sign in</html>"), "no chat completion.*sign in.*base_url"),
        ((200, {}, "[]"), "no chat completion"),
        ((200, {}, b"\xff\xfe\x00"), "no chat completion"),
        ((200, {}, '{"choices": []}'), "no chat completion.*no text in it"),
        ((200, {}, '{"choices": [{"message": {"content": null}}]}'), "no chat completion"),
        ((200, {}, '{"choices": [{"message": {"content": 7}}]}'), "no chat completion"),
        ((200, {}, '{"model": "cats", "choices": [{"message": {"content": "x"}}]}'), "answers as model 'cats', not 'b"),
    ],
)  # fmt: skip
def test_what_a_user_can_mend_is_said(reply: Reply, problem: str):
    with serving(lambda _body, _headers: reply) as url, pytest.raises(SeeWhyError, match=problem):
        client(url).sample(ONE, GREEDY, seed=0)


def test_a_server_that_gives_fewer_answers_than_it_did():
    with (
        serving(lambda body, _headers: completion(body, "yes", "no")) as url,
        pytest.raises(SeeWhyError, match="fewer than the 3 answers to prompt c that it was asked for"),
    ):
        client(url, dialect=DIALECTS[0]).sample(ONE, DRAWN, seed=0)


def test_the_model_may_be_named_with_its_revision():
    with serving(lambda body, _headers: completion({"model": "birds@main"}, "yes")) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [["yes"]]


def test_a_server_that_is_too_slow():
    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        time.sleep(0.5)
        return completion(body, "yes")

    with serving(answer) as url, pytest.raises(SeeWhyError, match=r"within 0\.1 seconds, asked 1 times: raise model"):
        client(url, timeout=0.1, retries=0).sample(ONE, GREEDY, seed=0)


def test_no_server():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        url = f"http://localhost:{found.getsockname()[1]}/v1"
    with pytest.raises(SeeWhyError, match=f"No server answers at {url}.*start it"):
        client(url, retries=0).sample(ONE, GREEDY, seed=0)


def test_one_failure_ends_the_rest():
    asked = []

    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        asked.append(body)
        if len(asked) == 1:
            return 404, {}, "gone"
        time.sleep(0.3)
        return completion(body, "yes")

    with serving(answer) as url, pytest.raises(SeeWhyError, match="404"):
        client(url, concurrency=2).sample([Prompt(str(i), "", "Name it.") for i in range(50)], GREEDY, seed=0)
    assert len(asked) < 6


def test_a_prompt_that_was_too_long():
    with serving(lambda body, _headers: completion(body, "yes", usage={"prompt_tokens": 95})) as url:
        assert client(url, max_length=104).sample(ONE, GREEDY, seed=0) == [["yes"]]
        with pytest.raises(SeeWhyError, match="Prompt c has 95 tokens, and 9 more do not fit into the 103"):
            client(url, max_length=103).sample(ONE, GREEDY, seed=0)


@pytest.mark.parametrize(
    ("started", "own", "sent"),
    [(True, "", "Bearer none"), (True, "of the server", "Bearer of the server"), (False, "", "Bearer secret")],
)
def test_a_key_is_sent_only_to_a_server_that_was_already_running(
    monkeypatch: pytest.MonkeyPatch,
    started: bool,  # noqa: FBT001
    own: str,
    sent: str,
):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    keys = []

    def answer(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        keys.append(headers["Authorization"])
        return completion(body, "yes")

    with serving(answer) as url:
        client(url, started=started, key=own).sample(ONE, GREEDY, seed=0)
    assert keys == [sent]


def transformers_serve(body: Mapping[str, Any]) -> Reply:
    """Refuses fields that it does not know, answers once whatever `n` is, samples if its own settings say so."""
    if body.keys() - {"model", "messages", "max_tokens", "temperature", "top_p", "seed", "n", "generation_config"}:
        return 422, {}, '{"detail": "Unexpected fields"}'
    samples = json.loads(body.get("generation_config", "{}")).get("do_sample")
    return completion(body, random_words(body["seed"]) if samples else "always the same")


def vllm(body: Mapping[str, Any]) -> Reply:
    return completion(body, *(random_words(body["seed"] + i) for i in range(body.get("n", 1))))


def strict(body: Mapping[str, Any]) -> Reply:
    """Takes what the protocol has, and not several answers at once."""
    if body.keys() - {"model", "messages", "max_tokens", "temperature", "top_p", "seed"}:
        return 400, {}, "unknown field"
    return vllm(body)


@pytest.mark.parametrize(
    ("server", "name", "n"),
    [
        (vllm, "vLLM, SGLang", True),
        (transformers_serve, "transformers serve", False),
        (strict, "plain OpenAI", False),
    ],
)
def test_the_dialect_is_found_by_asking(server: Any, name: str, n: bool):  # noqa: FBT001
    with serving(lambda body, _headers: server(body)) as url:
        learnt = client(url).learn(PROMPTS[0])
        texts = learnt.sample(PROMPTS, DRAWN, seed=0)
    assert (learnt.dialect.name, learnt.dialect.n) == (name, n)
    assert [len(set(of_prompt)) for of_prompt in texts] == [3, 3, 3]


def test_a_server_that_does_not_sample_is_no_use():
    problem = "4 times 'always this' at temperature 2: it does not sample"
    with serving(lambda body, _h: completion(body, "always this")) as url, pytest.raises(SeeWhyError, match=problem):
        client(url).learn(PROMPTS[0])


def test_a_server_that_takes_no_request_says_why():
    problem = r"does not take prompt a \(400: no images here"
    with serving(lambda _body, _headers: (400, {}, "no images here")) as url, pytest.raises(SeeWhyError, match=problem):
        client(url).learn(PROMPTS[0])


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(SeeWhyError, match=r"pip install 'seewhy\[serve\]'"):
        client("http://localhost:9/v1").sample(ONE, GREEDY, seed=0)


def choice(content: Any, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}


def replying(*choices: dict[str, Any], **more: Any) -> Reply:
    return 200, {}, json.dumps({"model": "birds", "choices": list(choices), **more})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "A fish "}, {"type": "text", "text": "crow."}], "A fish crow."),
        ([{"type": "thinking", "thinking": "Hm."}, {"type": "output_text", "text": "A crow."}], "A crow."),
        (["A ", "crow."], "A crow."),
        ("A crow \ud83d.", "A crow \ufffd."),
        ("\ud83d\ude00", "\U0001f600"),
        ("", ""),
    ],
)
def test_a_text_may_come_in_parts(content: Any, text: str):
    with serving(lambda _body, _headers: replying(choice(content))) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [[text]]


def test_a_thought_beside_an_answer_is_left_aside():
    reply = replying(choice("A crow.", reasoning_content="Black, so a crow."))
    with serving(lambda _body, _headers: reply) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [["A crow."]]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", []])
def test_a_thought_in_place_of_an_answer_is_named(key: str, content: Any):
    reply = replying(choice(content, "length", **{key: "The user asks for"}))
    problem = r"thinks instead of answering prompt c.*Turn the model's thinking off.*without a reasoning parser"
    with serving(lambda _body, _headers: reply) as url, pytest.raises(SeeWhyError, match=problem):
        client(url).sample(ONE, GREEDY, seed=0)


WITHHELD = [
    (choice(None, refusal="I would rather not."), "the model refused: I would rather not."),
    (choice([{"type": "refusal", "refusal": "No."}]), "the model refused: No."),
    (choice("A cr", "content_filter"), "the server's content filter withheld the answer"),
    (choice(None, "content_filter"), "the server's content filter withheld the answer"),
]


@pytest.mark.parametrize(("held", "reason"), WITHHELD)
def test_a_withheld_text_is_empty_and_said(held: Any, reason: str, capsys: pytest.CaptureFixture[str]):
    """The stages drop empty texts and count them; one refusal does not end a run."""

    def answer(body: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        return replying(held if question_of(body)[0] == "Why?" else choice("A crow."))

    with serving(answer) as url:
        assert client(url).sample(PROMPTS, GREEDY, seed=0) == [["A crow."], [""], ["A crow."]]
    assert f"withheld 1 of 3 texts ({reason})" in capsys.readouterr().err


@pytest.mark.parametrize(("held", "reason"), WITHHELD)
def test_where_every_text_is_withheld_there_is_nothing_to_go_on_with(held: Any, reason: str):
    problem = rf"withheld 3 of 3 texts \({reason}\): there is nothing to go on with"
    with serving(lambda _body, _headers: replying(held)) as url, pytest.raises(SeeWhyError, match=problem):
        client(url).sample(PROMPTS, GREEDY, seed=0)


@pytest.mark.parametrize("tokens", ["95", 95.0, -3, "many", 1e400, None, True, [95], {"a": 1}, 10**30])
def test_a_count_of_tokens_may_be_anything(tokens: Any):
    reply = replying(choice("yes"), usage={"prompt_tokens": tokens})
    with serving(lambda _body, _headers: reply) as url:
        if tokens in ("95", 95.0):
            with pytest.raises(SeeWhyError, match="Prompt c has 95 tokens"):
                client(url, max_length=103).sample(ONE, GREEDY, seed=0)
        assert client(url, max_length=200).sample(ONE, GREEDY, seed=0) == [["yes"]]


@pytest.mark.parametrize("usage", [None, [], "none", 7])
def test_a_usage_may_be_anything(usage: Any):
    with serving(lambda _body, _headers: replying(choice("yes"), usage=usage)) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [["yes"]]


PASSING = [
    {"error": {"message": "Provider returned error", "code": 502, "metadata": {"raw": "upstream is down"}}},
    {"error": {"message": "rate limited", "code": "429"}, "choices": []},
    {"error": "the model runner has stopped"},
    {"choices": [choice("A cr", "error")]},
    {"choices": [choice("A cr", "abort")]},
    {"choices": [{**choice(None), "error": {"message": "timeout", "code": 504}}]},
]


@pytest.mark.parametrize("body", [*PASSING, '{"choices": [{"message": {"content": "A cr'])
def test_what_passes_inside_a_reply_is_asked_again(body: Any):
    asked = []

    def answer(sent: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        asked.append(sent)
        text = body if isinstance(body, str) else json.dumps(body)
        return (200, {}, text) if len(asked) == 1 else completion(sent, "A crow.")

    with serving(answer) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [["A crow."]]
    assert len(asked) == 2
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("body", "problem", "times"),
    [
        (PASSING[0], r"failed at prompt c, even after 1 retries .502: Provider returned error upstream is down", 2),
        (PASSING[1], r"asked too often, even after 1 retries .429: rate limited", 2),
        (PASSING[2], r"failed at prompt c.*the model runner has stopped", 2),
        ({"error": {"message": "no images here", "code": 400}}, r"does not take prompt c .400: no images here", 1),
        ({"object": "error", "message": "too long", "code": 400}, r"does not take prompt c .400: too long", 1),
        ({"error": {"message": "bad key", "code": 401}}, "refuses the key .401: bad key", 1),
        ({"error": {"message": "not found", "code": 404}}, "has no model 'birds'", 1),
    ],
)
def test_an_error_inside_a_reply_is_that_error(body: Any, problem: str, times: int):
    asked = []

    def answer(sent: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        asked.append(sent)
        return 200, {}, json.dumps(body)

    with serving(answer) as url, pytest.raises(SeeWhyError, match=problem):
        client(url).sample(ONE, GREEDY, seed=0)
    assert len(asked) == times


@pytest.mark.parametrize(
    "body", ["null", "7", '"yes"', "[" * 100_000, '{"choices": [null]}', '{"choices": [{"message": 1}]}']
)
def test_json_that_is_no_completion(body: str):
    with (
        serving(lambda _body, _headers: (200, {}, body)) as url,
        pytest.raises(SeeWhyError, match="no chat completion"),
    ):
        client(url).sample(ONE, GREEDY, seed=0)


def test_more_choices_than_asked_for():
    with serving(lambda body, _headers: completion(body, "yes", "no")) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [["yes"]]


@pytest.mark.parametrize(("dialect", "sent"), [(0, True), (1, True), (2, False)])
def test_thinking_is_off_at_servers_that_render_prompts_themselves(dialect: int, sent: bool):  # noqa: FBT001
    bodies = recorded(dialect, GREEDY, template_settings={"enable_thinking": False})
    assert [body.get("chat_template_kwargs") for body in bodies] == [{"enable_thinking": False} if sent else None] * 3
    assert not any("chat_template_kwargs" in body for body in recorded(dialect, GREEDY))


@pytest.mark.parametrize(
    "body",
    [
        "[1, 2]",
        '{"choices": [{"message": {"content": {"a": 1}}}]}',
        '{"choices": {}}',
        '{"choices": [{"message": {"content": "A cr',
        "<html>",
    ],
)
def test_a_malformed_reply_is_one_failed_answer(body: str, capsys: pytest.CaptureFixture[str]):
    """It is asked for again, then left empty and counted; the run goes on."""
    asked = []

    def answer(sent: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        if question_of(sent)[0] != "Why?":
            return completion(sent, "A crow.")
        asked.append(sent)
        return 200, {}, body

    with serving(answer) as url:
        drawn = replace(GREEDY, temperature=0.7)
        assert client(url).sample(PROMPTS, drawn, seed=0) == [["A crow."], [""], ["A crow."]]
        assert len(asked) == 2
        with pytest.raises(SeeWhyError, match="no chat completion"):
            client(url).replies(PROMPTS, drawn, seed=0)
        with pytest.raises(SeeWhyError, match="no chat completion"):  # an empty prediction would count as the model's
            client(url).sample(PROMPTS, GREEDY, seed=0)
    assert "1 of 3 replies of the server, each asked for 2 times, are left empty" in capsys.readouterr().err


def test_a_malformed_reply_is_asked_for_again():
    asked = []

    def answer(sent: Mapping[str, Any], _headers: Mapping[str, str]) -> Reply:
        asked.append(sent)
        return (200, {}, "[]") if len(asked) == 1 else completion(sent, "A crow.")

    with serving(answer) as url:
        assert client(url).sample(ONE, GREEDY, seed=0) == [["A crow."]]
