import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from seewhy.domain.loaders.llava import Replay, load_replay, replay_digest
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


def test_the_form_of_llava_instruct(tmp_path: Path) -> None:
    """Several turns, the marker after the question, a BOM, an image in a folder, keys that are not ours."""
    (tmp_path / "coco").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "coco" / "1.jpg")
    turns = talk(("human", "What colour is it?\n<image>"), ("gpt", "Red."), ("human", "Sure?"), ("gpt", "Yes."))
    rows = [{"id": "000", "image": "coco/1.jpg", "model": "x", "conversations": turns}]
    (tmp_path / "replay.json").write_text(json.dumps(rows), encoding="utf-8-sig")
    (turn,) = load_replay(tmp_path / "replay.json")
    assert turn == Turn("replay/1", str(tmp_path.resolve() / "coco/1.jpg"), "What colour is it?", "Red.")


def test_rows_with_a_marker_of_the_model_are_named_once(tmp_path: Path) -> None:
    rows = [
        {"conversations": PAIR},
        {"conversations": talk(("human", "What is <s>?"), ("gpt", "A tag."))},
        {"conversations": talk(("human", "Say it."), ("gpt", "</s> it"))},
    ]
    replay = Replay.read(str(write(tmp_path, rows)))

    def rejected(text: str) -> str | None:
        return "holds a marker of the model" if "s>" in text else None

    with pytest.raises(SeeWhyError) as error:
        replay.check(rejected)
    assert "replay.json: 2 problems." in str(error.value)
    assert "row 2: the question holds a marker of the model; reword it or remove the row." in str(error.value)
    assert "row 3: the answer holds" in str(error.value)
    Replay().check(rejected)


@pytest.mark.parametrize(("wanted", "drawn"), [(0, 0), (3, 3), (9, 5)])
def test_as_many_as_wanted_or_all(wanted: int, drawn: int, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [Turn(f"replay/{number}", "", "Hi", "Hello") for number in range(5)]
    found = Replay("general.json", turns).drawn(wanted, Random(0))
    assert len({turn.id for turn in found}) == drawn
    said = "general.json has 5 conversations and 9 are wanted: each is taken once."
    assert (said in capsys.readouterr().err) == (wanted > 5)
    assert Replay().drawn(wanted, Random(0)) == []


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    path = write(tmp_path, [{"conversations": PAIR}])
    before = replay_digest(path)
    path.rename(tmp_path / "moved.json")
    assert replay_digest(tmp_path / "moved.json") == before
    assert replay_digest(write(tmp_path, [{"conversations": PAIR}] * 2)) != before
    with pytest.raises(SeeWhyError, match=r"set tune\.replay"):
        replay_digest(tmp_path / "none.json")
