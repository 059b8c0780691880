"""verdicts.jsonl: nothing that was written is lost or counted twice, whoever wrote it and however they were stopped."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from seewhy.config import DataConfig
from seewhy.domain import verdicts
from seewhy.domain.verdicts import Verdict, append, new_verdict, read_verdicts, standing, verdicts_file
from seewhy.errors import SeeWhyError
from seewhy.run import storage

SOURCE = Path(storage.__file__).parents[2]


def said(concept: str = "black bill", verdict: str = "right", who: str = "Ada", image: str = "train/Crow/0") -> Verdict:
    return new_verdict(who, "concept", verdict, image=image, sha256="5", concept=concept)


def test_a_verdict_comes_back_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    given = [
        said("<b>gelber Schnäbel</b>", who="Jörg  Müller"),
        replace(said(), selection={"digest": "90", "score": 2.5, "selected": True}),
        new_verdict("Ada", "bank", "reworded", image="i", sha256="5", label="Crow", concept="c", wording=" a\tbill "),
        new_verdict("Ada", "marks", "complete", image="t", sha256="5", visible=("a",), absent=("b", "c")),
    ]
    assert [append(path, verdict) for verdict in given] == [True] * 4
    assert read_verdicts(path) == given
    assert given[0].who == "Jörg Müller"
    assert given[2].wording == "a bill"
    assert path.read_text(encoding="utf-8").count("\n") == 4


def test_saying_the_same_again_adds_nothing_and_undo_takes_the_last_back(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    first, second = said(), said(verdict="wrong")
    assert append(path, first)
    assert not append(path, said())
    assert append(path, second)
    assert append(path, said())  # back again is a change
    last = verdicts.last_of(read_verdicts(path), "Ada")
    assert last
    undo = new_verdict("Ada", "undo", "undo", of=last.id)
    assert append(path, undo)
    assert not append(path, new_verdict("Ada", "undo", "undo", of=last.id))
    assert standing(read_verdicts(path)) == [first, second]
    assert verdicts.last_of(read_verdicts(path), "Ben") is None


def test_nobody_takes_back_what_another_said(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    append(path, first := said())
    append(path, new_verdict("Ben", "undo", "undo", of=first.id))
    assert standing(read_verdicts(path)) == [first]


def test_copies_merged_in_any_order_count_once(tmp_path: Path) -> None:
    here, there, merged = (tmp_path / name for name in ("here.jsonl", "there.jsonl", "merged.jsonl"))
    every = [said("a"), said("b"), said("c", who="Ben")]
    for verdict in every[:2]:
        append(here, verdict)
    for verdict in (every[2], every[0]):
        append(there, verdict)
    lines = there.read_text().splitlines(keepends=True) + here.read_text().splitlines(keepends=True)
    merged.write_text("".join(lines) + "\n")
    assert read_verdicts(merged) == every


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_left_out(tmp_path: Path, kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "verdicts.jsonl"
    append(path, first := said("a"))
    whole = path.read_bytes()
    path.write_bytes(whole + said("b").line().encode()[:kept])
    assert read_verdicts(path) == [first]
    assert "was not written to its end" in capsys.readouterr().err
    append(path, third := said("c"))
    assert "is cut off" in capsys.readouterr().err
    assert path.read_bytes() == whole + third.line().encode() + b"\n"
    assert read_verdicts(path) == [first, third]


def test_a_whole_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(said("a").line())
    append(path, said("b"))
    assert [verdict.concept for verdict in read_verdicts(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("{", "row 2 is not JSON"),
        ("[]", "row 2: it is no JSON object"),
        ({"kind": "concpt"}, "'kind' is 'concpt', not one of concept, label, bank, marks, carry, undo"),
        ({"verdict": "yes"}, "'verdict' is 'yes', and of kind 'concept' one of right, wrong, hidden"),
        ({"image": None}, "'image' is not given, but a verdict of kind 'concept' needs it as text"),
        ({"sha256": 5}, "'sha256' is 5, but"),
        ({"concpt": "a"}, r"unknown key 'concpt' \(did you mean 'concept'\?\)"),
        ({"when": "yesterday"}, "'when' is 'yesterday', not a time with its zone"),
        ({"visible": "a"}, "'visible' is no list of phrases"),
        ({"wording": "a <image> b"}, "control token"),
        ({"selection": 5}, "'selection' is no JSON object"),
        ({"kind": "bank", "verdict": "reworded", "label": "Crow"}, "'wording' is not given"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, change: str | dict[str, object], says: str) -> None:
    path = tmp_path / "verdicts.jsonl"
    good = said()
    line = change if isinstance(change, str) else json.dumps({**json.loads(good.line()), "id": "2", **change})
    path.write_text(f"{good.line()}\n{line}\n{said('c').line()}\n")
    before = path.read_bytes()
    with pytest.raises(SeeWhyError, match=says) as refused:
        read_verdicts(path)
    assert "row 2" in str(refused.value)
    assert str(path) in str(refused.value)
    with pytest.raises(SeeWhyError, match="row 2"):
        append(path, said("d"))
    assert path.read_bytes() == before


def test_one_id_with_two_contents_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    first = said("a")
    path.write_text(f"{first.line()}\n{replace(first, verdict='wrong').line()}\n")
    with pytest.raises(SeeWhyError, match="row 2 has the id of row 1 and says something else"):
        read_verdicts(path)


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\x00b"])
def test_a_reviewer_needs_a_name(name: str) -> None:
    with pytest.raises(SeeWhyError, match="A reviewer needs a name"):
        said(who=name)


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from seewhy.domain.verdicts import append, new_verdict
    path, who = Path(sys.argv[1]), sys.argv[2]
    for number in range(int(sys.argv[3])):
        append(path, new_verdict(who, "concept", "right", image=f"i{number}", sha256="5", concept="c" * 3000))
        print(number, flush=True)
""")


def _writer(path: Path, who: str, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), who, str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)})


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    writers = [_writer(path, who, 40) for who in ("Ada", "Ben")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = read_verdicts(path)
    assert sorted((v.who, v.image) for v in found) == sorted((w, f"i{n}") for w in ("Ada", "Ben") for n in range(40))


def test_what_a_killed_writer_said_it_wrote_is_there(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    for turn in range(3):
        writer = _writer(path, f"Ada {turn}", 10_000)
        assert writer.stdout
        for _ in range(5 + turn):
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        mine = [v for v in read_verdicts(path) if v.who == f"Ada {turn}"]
        assert len(mine) >= told + 1
        assert [v.image for v in mine] == [f"i{n}" for n in range(len(mine))]
    append(path, said())
    assert read_verdicts(path)[-1].concept == "black bill"


def test_where_the_verdicts_are(tmp_path: Path) -> None:
    assert verdicts_file(DataConfig(concepts="banks/birds.yaml"), "run") == Path("banks/verdicts.jsonl")
    assert verdicts_file(DataConfig(), tmp_path) == tmp_path / "verdicts.jsonl"
    assert verdicts_file(DataConfig(concepts="b.yaml", verdicts="mine.jsonl"), "run") == Path("mine.jsonl")
    assert read_verdicts(tmp_path / "verdicts.jsonl") == []
