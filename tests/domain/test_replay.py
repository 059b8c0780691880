import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seewhy.domain.loaders.replay import load_replay
from seewhy.errors import SeeWhyError
from seewhy.records import Turn


def talk(*messages: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": speaker, "value": text} for speaker, text in messages]


def write(folder: Path, rows: Any) -> Path:
    Image.new("RGB", (4, 4)).save(folder / "boat.png")
    path = folder / "replay.json"
    path.write_text(json.dumps(rows))
    return path


def test_the_first_pair_of_each_conversation_is_taken(tmp_path: Path) -> None:
    boat = talk(("human", "<image>\nWhat is it?"), ("gpt", "A boat."), ("human", "Big?"), ("gpt", "Yes."))
    chat = talk(("system", "Be kind."), ("gpt", "Hello."), ("human", "Hi <s>"), ("gpt", "Good day."))
    rows = [{"id": "x", "image": "boat.png", "conversations": boat}, {"id": "x", "conversations": chat}]
    assert load_replay(write(tmp_path, rows)) == [
        Turn("replay/1", str(tmp_path.resolve() / "boat.png"), "What is it?", "A boat."),
        Turn("replay/2", "", "Hi <s>", "Good day."),
    ]


PAIR = talk(("human", "Hi"), ("gpt", "Hello"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"conversations": "Hi"}, "has no list 'conversations'"),
        ("Hi", "has no list 'conversations'"),
        ({"conversations": [{"from": "human"}]}, "a message has no text 'value'"),
        ({"conversations": talk(("human", "Hi"))}, "no 'human' message is followed by a 'gpt' message"),
        (
            {"conversations": talk(("human", "<image>"), ("gpt", "A boat."))},
            "the first question or its answer is empty",
        ),
        ({"conversations": talk(("human", "<image> Hi"), ("gpt", "x"))}, "the text holds <image> and the row has no"),
        ({"conversations": PAIR, "image": "none.png"}, "image 'none.png' is not there"),
        ({"conversations": PAIR, "image": "../a.png"}, "leads out of the data folder"),
        ({"conversations": PAIR, "image": "/etc/hostname"}, "is an absolute path"),
        ({"conversations": PAIR, "image": ["boat.png"]}, "not one path"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(SeeWhyError) as error:
        load_replay(write(tmp_path, [{"conversations": PAIR}, row]))
    assert "replay.json: 1 problem.\n- row 2: " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["{}", "[]", "[", "no"])
def test_what_is_no_instruction_data_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "replay.json").write_text(text)
    with pytest.raises(SeeWhyError, match=r"set tune\.replay to a LLaVA-Instruct JSON file"):
        load_replay(tmp_path / "replay.json")
    with pytest.raises(SeeWhyError, match="cannot be read"):
        load_replay(tmp_path / "none.json")
