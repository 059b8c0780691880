"""Others' words: what a terminal may obey and what is secret reaches neither terminal nor file."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from fixtures_data import image_folder
from seewhy.cli import main
from seewhy.config import EngineConfig, RunConfig, recorded
from seewhy.errors import SeeWhyError
from seewhy.run.progress import console, print_json, progress, say
from seewhy.words import MASK, masked, plain, remember_secrets_of, shown, shown_json

EVIL = "\x1b[2J\x1b]0;owned\x07crow\x9b31m\u202e\x08\r\x7f\ud800"
CONTROL = set("\x00\x07\x08\x0b\x0c\r\x1b\x7f\x9b\u202e")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("vllm serve m --api-key abc --port 1", f"vllm serve m --api-key {MASK} --port 1"),
        ("serve --api-key=abc", f"serve --api-key={MASK}"),
        ("serve --hf-token 'abc'", f"serve --hf-token '{MASK}'"),
        ("serve --api-key 'ab;cd ef' x", f"serve --api-key '{MASK}' x"),
        ("https://u:p@ss@host/v1", f"https://{MASK}@host/v1"),
        ("The bird is in basic plumage.", "The bird is in basic plumage."),
        ("/data/hf_datasets/birds/a.jpg", "/data/hf_datasets/birds/a.jpg"),
        ("sk-learning-set", "sk-learning-set"),
        ("http://joe:pass@host:8000/v1", f"http://{MASK}@host:8000/v1"),
        ("non-default args: {'api_key': ['abc']}", f"non-default args: {{'api_key': ['{MASK}']}}"),
        ("https://host/v1?api_key=abc&n=1", f"https://host/v1?api_key={MASK}&n=1"),
        ("Authorization: Bearer abcdefgh12", f"Authorization: Bearer {MASK}"),
        ("Incorrect API key provided: sk-abcdefgh1234", f"Incorrect API key provided: {MASK}"),
        ("OPENAI_API_KEY=abc seewhy run", f"OPENAI_API_KEY={MASK} seewhy run"),
    ],
)
def test_secrets_by_their_form(text: str, seen: str) -> None:
    assert shown(text) == seen
    assert shown(seen) == seen


@pytest.mark.parametrize(
    "text",
    [
        "Set OPENAI_API_KEY to a key, or name another one with --key_variable.",
        "--max-num-batched-tokens 4096 --tokenizer x --max_new_tokens 30",
        "prompt_tokens=5, 128 tokens: the special token: '<image>'",
        "without any secret (--token none)",
        "http://localhost:8000/v1, ana@birds.org, a/b@main",
        "Rücken grün,\n\tFlügel blau \U0001f426 鳥",
        "vllm serve {model} --port {port} --api-key {key}",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert shown(text) == text


def test_a_value_of_the_environment_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "kein Muster 42")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "not a secret")
    assert masked({"said": ["the key kein Muster 42", 3, None]}) == {"said": [f"the key {MASK}", 3, None]}
    assert str(SeeWhyError("no: kein Muster 42")) == f"no: {MASK}"
    assert masked("not a secret") == "not a secret"


def test_what_a_command_held_is_known_when_it_comes_back_alone() -> None:
    remember_secrets_of("serve --api-key bare-key-77")
    EngineConfig(base_url="http://joe:bare-word-88@host/v1")
    assert shown("bare-key-77 and bare-word-88, joe") == f"{MASK} and {MASK}, joe"
    assert shown("http://joe:bare-word-88@host/v1") == f"http://{MASK}@host/v1"


@pytest.mark.parametrize("command", ["serve --api-key 'ab%41cdefghij'", "http://joe:ab%41cdefghij@host/v1"])
def test_a_secret_is_known_as_it_is_written_and_as_it_is_sent(command: str) -> None:
    remember_secrets_of(command)
    assert shown("bad key ab%41cdefghij, or abAcdefghij") == f"bad key {MASK}, or {MASK}"
    remember_secrets_of("serve --api-key \udcff2345678")


def test_a_word_that_others_use_stays_though_somebody_took_it_for_a_key() -> None:
    remember_secrets_of("serve --api-key secret")
    assert shown("*** stands for a secret, in /runs/secret/a") == "*** stands for a secret, in /runs/secret/a"
    assert shown("serve --api-key secret") == f"serve --api-key {MASK}"


def test_recorded_settings_differ_in_secrets_alone() -> None:
    plainly = RunConfig()
    assert recorded(plainly)["model"]["engine"] == vars(EngineConfig())
    assert recorded(plainly)["workers"] == vars(plainly.workers)


def test_plain_text_holds_nothing_to_obey() -> None:
    assert plain(EVIL) == "[2J]0;ownedcrow31m"
    assert json.loads(shown_json([EVIL])) == [EVIL]
    assert json.loads(shown_json({"t": 'he wrote api_key="abcdefgh" here', "per_token": 0.5})) == {
        "t": f'he wrote api_key="{MASK}" here', "per_token": 0.5,
    }  # fmt: skip


def test_nothing_that_is_printed_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=Text(EVIL))
    table.add_row(Text(EVIL))
    for out in (console(), console(stderr=True)):
        out.print(table)
        out.print(EVIL, Text(EVIL))
    say(EVIL)
    print_json({"label": EVIL})
    with progress(EVIL, total=2, done=0) as advance:
        advance(1)
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "crow" in text
        assert not CONTROL & set(text)


def test_colours_of_ours_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = console(file=(text := io.StringIO()))
    out.print(Text(EVIL, style="red"))
    assert text.getvalue().startswith("\x1b[31m[2J")
    assert "\x07" not in text.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")
@pytest.mark.parametrize("command", ["data check", "data check --json", "run"])
def test_names_of_classes_and_files_are_not_obeyed(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = image_folder(tmp_path)
    name = "\x1b]0;owned\x07\x1b[2J\x9b31m"
    folder: Any = root / "images" / "train" / f"Crow{name}"
    folder.mkdir(parents=True)
    (folder / f"{name}.png").write_bytes(b"no image")
    (root / "run.yaml").write_text(
        f"output: {root / 'run'}\ndata: {{source: {root / 'images'}, concepts: {root / 'concepts.yaml'}, noun: bird}}\n"
    )
    words = command.split()
    assert main(
        [*words[:2], str(root / "run.yaml"), *words[2:]] if len(words) > 1 else [*words, str(root / "run.yaml")]
    )
    printed = capsys.readouterr()
    assert "Crow" in printed.out + printed.err
    assert not CONTROL & set(printed.out + printed.err)
