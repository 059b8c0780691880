"""`seewhy trace` and `seewhy audit`, on a small run folder that was killed while round 2 was sampled."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fixtures_data import CONCEPTS, image_folder
from made_up_runs import html
from seewhy.cli import main
from seewhy.config import DataConfig, RunConfig
from seewhy.errors import Damaged, SeeWhyError
from seewhy.proof.audit import Audit, ConceptUse, RoundAudit, Teaching
from seewhy.records import Answer, Candidate, Description, Selection
from seewhy.report.page import write_page
from seewhy.report.terminal import AUDITED, print_audit, print_trace
from seewhy.report.trace import trace
from seewhy.run.checksums import unsealed_json
from seewhy.run.folder import RunFolder, Stage

IDS = [f"train/{label}/{number}" for label in CONCEPTS for number in range(3)]
CROW, HEARD = "train/Crow/1", "It has black wings [bold], so it is a Crow."
METRICS = {"base": {"split": "test", "n": 6, "answers": 6, "accuracy": 0.0, "accuracy_lenient": 0.0, "ee": 0.0}}


def label_of(name: str) -> str:
    return name.split("/")[1]


def described(name: str) -> Iterator[Description]:
    yield Description(name, "Describe it.", 0, f"What {name} shows")
    yield Description(name, "Describe it.", 1, "A bird on a wire")


def selected(name: str) -> Iterator[Selection]:
    for number, concept in enumerate(CONCEPTS[label_of(name)]):
        yield Selection(name, concept, math.nan if name == IDS[0] else -1.5 - number, selected=not number)


def taught(name: str) -> Iterator[Answer]:
    label, sentence = label_of(name), "label sentence"
    for number, kind in enumerate(("explain", "simple")):
        fallback = kind == "simple" or label == "Fish Crow"
        text = f"This is a {label}." if fallback else HEARD
        source, reason = (sentence, "names no label") if fallback else ("synthesised", f"names {label}")
        kind = "simple" if fallback else kind
        yield Answer(f"{name}/1/{number}", name, 1, kind, f"Question {number}?", text, source, math.nan, reason)


def sampled(name: str) -> Iterator[Candidate]:
    for query in ("Why?", "How so?"):
        won = query == "Why?"
        yield Candidate(name, 2, "cot", query, 0, HEARD, -2.0, won, "names Crow" if won else "names no label")
        yield Candidate(name, 2, "cot", query, 1, "", math.nan, kept=False, reason="empty")


def chosen(name: str) -> Iterator[Answer]:
    yield Answer(f"{name}/2/0", name, 2, "cot", "Why?", HEARD, "sampled", -2.0, "names Crow")
    reason = "empty (1); names no label (1)"
    text = f"This is a {label_of(name)}."
    yield Answer(f"{name}/2/1", name, 2, "simple", "Name it.", text, "label sentence", math.nan, reason)


class Killed(Exception):
    pass


def make_run(root: Path, *, kill: bool) -> Path:
    """Three images of each class; with `kill` round 2 has candidates of `Fish Crow` and `Crow` alone."""
    image_folder(root, train=3)
    data = DataConfig(source=str(root / "images"), concepts=str(root / "concepts.yaml"))
    names = ("describe", "select", "round-1/answers", "round-1/model", "round-2/candidates", "round-2/answers")
    stages = {name: Stage(name, {}) for name in names}
    folder = RunFolder(root / "run", seed=0, shard_size=3)
    makers: dict[str, tuple[type, Any]] = {
        "describe": (Description, described),
        "select": (Selection, selected),
        "round-1/answers": (Answer, taught),
        "round-2/candidates": (Candidate, sampled),
        "round-2/answers": (Answer, chosen),
    }
    with folder.lock():
        folder.check(list(stages.values()), config=asdict(RunConfig(str(root / "run"), rounds=3, data=data)))
        for name in names:
            if name.endswith("model"):
                folder.folder(stages[name], lambda partial: None)
                continue
            record, maker = makers[name]

            def work(part, seed, maker=maker, dies=kill and name == "round-2/candidates"):
                if dies and IDS[-1] in part:
                    raise Killed
                return [row for example_id in part for row in maker(example_id)]

            try:
                folder.records(stages[name], record, IDS, work)
            except Killed:
                break
    return root / "run"


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("unfinished"), kill=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("finished"), kill=False)


def test_one_image_from_description_to_answer(finished: Path):
    found = trace(str(finished), CROW)
    assert found["label"] == "Crow"
    assert found["image"] == str(finished.parent / "images/train/Crow/1.png")
    assert [d["text"] for d in found["descriptions"]] == [f"What {CROW} shows", "A bird on a wire"]
    assert found["concepts"][0] == {"concept": "black wings", "score": -1.5, "selected": True}
    assert [c["concept"] for c in found["concepts"]] == CONCEPTS["Crow"]
    first, second = found["rounds"]
    assert (first["round"], first["tuned"], second["round"], second["tuned"]) == (1, True, 2, False)
    assert [q["id"] for q in first["queries"]] == [f"{CROW}/1/0", f"{CROW}/1/1"]
    assert first["queries"][0]["candidates"] == []
    assert first["queries"][0]["answer"]["text"] == HEARD
    won, lost = second["queries"]
    assert [(c["query"], c["kept"], c["reason"], c["score"]) for c in won["candidates"]] == [
        ("Why?", True, "names Crow", -2.0),
        ("Why?", False, "empty", None),
    ]
    assert won["answer"]["source"] == "sampled"
    assert {c["query"] for c in lost["candidates"]} == {"How so?"}
    assert lost["answer"]["source"] == "label sentence"
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_one_answer_has_its_own_candidates_alone(finished: Path):
    (only,) = trace(str(finished), f"{CROW}/2/1")["rounds"]
    assert only["round"] == 2
    assert [(q["id"], {c["query"] for c in q["candidates"]}) for q in only["queries"]] == [(f"{CROW}/2/1", {"How so?"})]
    (only,) = trace(str(finished), f"{CROW}/1/0")["rounds"]
    assert [q["answer"]["query"] for q in only["queries"]] == ["Question 0?"]


def test_an_unfinished_run_is_traced_as_far_as_it_has_come(unfinished: Path):
    first, second = trace(str(unfinished), CROW)["rounds"]
    assert first["tuned"]
    assert [(len(q["candidates"]), q["answer"]) for q in second["queries"]] == [(2, None), (2, None)]
    assert [r["round"] for r in trace(str(unfinished), IDS[-1])["rounds"]] == [1]
    with pytest.raises(SeeWhyError, match=rf"no answer '{IDS[-1]}/2/0'\. It has '{IDS[-1]}/1/0' to '{IDS[-1]}/1/1'"):
        trace(str(unfinished), f"{IDS[-1]}/2/0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/Crwo/1", r"no training example or answer 'train/Crwo/1'\. The nearest ids: .*'train/Crow/1'"),
        ("train/Crwo/1/2/0", r"The nearest ids: .*'train/Crow/1/2/0'"),
        ("train/Crow/1.png", r"The nearest ids: 'train/Crow/1'"),
        ("zzz", r"The nearest ids: 'train/Crow/0'"),
        ("train/Crow/1/1/9", r"'train/Crow/1' has no answer 'train/Crow/1/1/9'\. It has 'train/Crow/1/1/0' to"),
        ("test/Crow/1", r"'test/Crow/1' is a test image"),
    ],
)
def test_a_wrong_id_names_the_nearest(finished: Path, name: str, message: str):
    with pytest.raises(SeeWhyError, match=message):
        trace(str(finished), name)


def test_what_is_printed_is_text_and_never_markup(unfinished: Path):
    console = Console(record=True, width=100)
    print_trace(trace(str(unfinished), CROW), console)
    text = console.export_text()
    for words in (
        "-1.50  selected  black wings",
        HEARD,
        "Round 1: taught its model",
        "answer (label sentence, names no label)",
        "Round 2: no model has learnt from it yet",
        "candidate 0  score -2.00  kept: names Crow",
        "candidate 1  score none  rejected: empty",
        "(no text)",
        "its answer is not chosen yet",
    ):
        assert words in text


def test_commands(unfinished: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["trace", str(unfinished), CROW, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == trace(str(unfinished), CROW)
    assert main(["trace", str(unfinished), "train/Crwo/1"]) == 1
    assert "train/Crow/1" in capsys.readouterr().err
    assert main(["audit", str(unfinished)]) == 0
    assert "Fish Crow (100.0 %)" in capsys.readouterr().out
    assert main(["audit", str(unfinished), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == unsealed_json((unfinished / "audit.json").read_bytes())
    assert [r["whole"]["accepted_share"] for r in printed["rounds"]] == [None, 0.5]
    assert printed["rounds"][0]["starving"] == ["Fish Crow"]
    assert {"label": "Red-crested Finch", "concept": "eye ring", "images": 3, "selected": 0} in printed["never"]
    assert [(u["label"], u["concept"]) for u in printed["always"]] == [
        ("Crow", "black wings"),
        ("Fish Crow", "black wings"),
        ("Red-crested Finch", "red crest"),
    ]


@pytest.mark.parametrize("verb", [["audit"], ["trace", "x"]])
def test_a_folder_without_a_run_is_named(tmp_path: Path, verb: list[str], capsys: pytest.CaptureFixture[str]):
    assert main([verb[0], str(tmp_path), *verb[1:]]) == 1
    assert "is no run folder" in capsys.readouterr().err


def teaching(label: str, **changed: Any) -> Teaching:
    none = dict.fromkeys(("accepted_share", "kept_share", "margin", "near_duplicate_share", "repeating_share"))
    values = {"label": label, "images": 3, "answers": 9, "fallback_share": 0.75, "queries": 0, "candidates": 0, **none}
    values |= {"rejections": {}, "reasoned": 4, "longest_repeat": "", "longest_repeat_words": 0}
    return Teaching(**(values | {"commonest_repeat": "", "commonest_repeat_answers": 0} | changed))


def test_the_page_tells_what_became_training_data():
    evil = "<script>alert(1)</script>"
    whole = teaching("", margin=0.625, near_duplicate_share=0.125, rejections={evil: 3}, longest_repeat=evil)
    starving = tuple(teaching(f"{evil} {n:02d}", rejections={"names no label": 6}) for n in range(14))
    round = RoundAudit(1, whole, starving, tuple(t.label for t in starving))
    audit = Audit((round,), (ConceptUse("Crow", evil, 9, 0),), (ConceptUse("Heron", "grey back", 9, 9),))
    page = html(METRICS, [], title="run", audit=audit)
    assert "<script" not in page
    for words in ("What became training data", "12.5 %", "0.62", "taught little but their name", "75.0 %", "grey back"):
        assert words in page
    assert page.count(" 11</th>") == 1
    assert " 12</th>" not in page
    assert "And 2 more" in page
    assert "What became training data" not in html(METRICS, [], title="run")
    console = Console(record=True, width=80)
    print_audit(audit, console)
    assert "grey back" in console.export_text()


def test_tables_fit_eighty_columns():
    full = {
        "accepted_share": 1.0,
        "kept_share": 1.0,
        "margin": 12.34,
        "near_duplicate_share": 1.0,
        "repeating_share": 1.0,
    }
    classes = tuple(teaching(label, **full) for label in ("Lesser Sorrel Wren", "Marram Bunting"))
    audit = Audit((RoundAudit(1, teaching("", **full), classes, ()),), (), ())
    console = Console(record=True, width=80)
    print_audit(audit, console)
    text = console.export_text()
    assert "…" not in text
    assert all(word in text for column in AUDITED for word in column.title.split())


def test_the_page_of_a_run_has_the_audit_and_says_so_when_its_data_is_gone(tmp_path: Path):
    run = make_run(tmp_path, kill=True)
    (run / "metrics.json").write_text(json.dumps(METRICS))
    (run / "gallery.json").write_text("[]")
    (run / "config.yaml").write_text("seed: 0\n")
    html = write_page(str(run)).read_text(encoding="utf-8")
    assert "taught little but their name" in html
    assert "white belly with spots" in html
    (tmp_path / "images").rename(tmp_path / "moved")
    html = write_page(str(run)).read_text(encoding="utf-8")
    assert "taught little but their name" not in html
    assert "This could not be counted" in html
    assert "cannot be read" in html


@pytest.mark.parametrize("payload", [b"", b"PAR1"])
def test_no_page_is_written_without_saying_that_a_shard_is_damaged(tmp_path: Path, payload: bytes):
    run = make_run(tmp_path, kill=True)
    (run / "metrics.json").write_text(json.dumps(METRICS))
    (run / "gallery.json").write_text("[]")
    (run / "config.yaml").write_text("seed: 0\n")
    shard = run / "stages/select/shard-00000.parquet"
    shard.write_bytes(payload)
    with pytest.raises(Damaged, match="shard-00000"):
        write_page(str(run))
    assert not (run / "report.html").exists()
