"""`seewhy judge` on a small run before a server that misbehaves, and what the page then shows."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from rich.console import Console

from fixtures_data import CONCEPTS, image_folder
from llm_server import Act, Body, fails, free_port, says, serving
from made_up_runs import metrics, write_run
from seewhy.cli import main
from seewhy.config import DataConfig, EvaluateConfig, RunConfig
from seewhy.domain.domain import VOCABULARY_FILE
from seewhy.errors import SeeWhyError
from seewhy.proof.judge import Judging, wanted
from seewhy.records import Prediction, Selection
from seewhy.report.terminal import print_judged
from seewhy.results import Judgement
from seewhy.results_json import decode
from seewhy.run.checksums import unsealed_json
from seewhy.run.folder import RunFolder, Stage, read_manifest
from seewhy.run.stages import BASE, ModelKey


@pytest.mark.parametrize(
    ("round", "models"),
    [
        ("last", ["base", "round-2", "nl/round-2"]),
        ("all", ["base", "round-1", "round-2", "nl/round-2"]),
        ("0", ["base"]),
        ("1", ["round-1"]),
        ("7", []),
    ],
)
def test_the_models_of_a_round(round: str, models: list[str]) -> None:
    finished = [ModelKey.parse(name) for name in ("base", "nl/round-2", "round-1", "round-2")]
    assert list(map(str, wanted(finished, round))) == models


def test_a_round_that_is_none_is_refused() -> None:
    with pytest.raises(SeeWhyError, match="'first'"):
        wanted([BASE], "first")


IDS = [f"test/{label}/{number}" for label in CONCEPTS for number in range(4)]
BARE = IDS[0]
"""Of it nothing was selected, as it could not be described."""
GOOD = {label: f"This is a {label}, because of its {concepts[0]}." for label, concepts in CONCEPTS.items()}


def said(model: str, name: str) -> str:
    label = name.split("/")[1]
    return {"base": "A bird.", "round-1": GOOD[label] + f" Image {name[-1]}.", "nl/round-1": f"This is a {label}."}[
        model
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one round beside NL, killed before its second round."""
    image_folder(tmp_path, test=4)
    data = DataConfig(source=f"{tmp_path}/images", concepts=f"{tmp_path}/concepts.yaml")
    config = RunConfig(f"{tmp_path}/run", rounds=2, data=data, evaluate=EvaluateConfig(bootstrap=50))
    models = ("base", "round-1", "nl/round-1")
    stages = {model: Stage(f"{model}/predictions-test", {}) for model in models} | {"select": Stage("select-test", {})}
    folder = RunFolder(config.output, seed=0, shard_size=5)
    with folder.lock():
        folder.check(list(stages.values()), config=asdict(config))
        for model in models:
            folder.records(
                stages[model], Prediction, IDS,
                lambda items, seed, model=model: [Prediction(i, "Which?", said(model, i)) for i in items],
            )  # fmt: skip
        folder.records(
            stages["select"], Selection, IDS,
            lambda items, seed: [
                Selection(i, concept, -math.pi, selected=n < 2 and i != BARE)
                for i in items for n, concept in enumerate(CONCEPTS[i.split("/")[1]])
            ],
        )  # fmt: skip
    return Path(config.output)


def material(body: Body) -> dict[str, Any]:
    return json.loads(body["messages"][1]["content"])


def honest(body: Body, number: int = 0) -> Act:
    reasons = [c for c in material(body)["expert_features"] if c in material(body)["answer"]]
    return says({"reasons": reasons, "explains": bool(reasons), "score": 9 if reasons else 3})


def judged(run: Path, url: str, *options: str) -> int:
    return main(
        ["judge", str(run), "--model", "j", "--base_url", url, "--backoff", "0.01", "--attempts", "2", *options]
    )


def read(run: Path) -> dict[str, Any]:
    return unsealed_json((run / "judge.json").read_bytes())


def test_the_command_judges_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(honest) as server:
        assert judged(run, server.url, "--price_in", "2", "--price_out", "10") == 0
        told = capsys.readouterr()
        found = read(run)
        assert (found["split"], found["images"], found["of"]) == ("test", 12, 12)
        assert list(found["models"]) == ["base", "round-1", "nl/round-1"]
        ours, base = found["models"]["round-1"], found["models"]["base"]
        assert (ours["n"], ours["ee"], ours["cs"], ours["cs_n"]) == (12, 1.0, 0.9, 12)
        assert ours["cs_interval"] == pytest.approx([0.594, 0.996], abs=1e-3)  # as cautious as for 10.8 right of 12
        assert (base["ee"], base["cs"]) == (0.0, 0.0)
        assert "cs_explained" not in base
        assert found["agreement"]["ee"] == {"n": 36, "raw": 1.0, "kappa": 1.0}
        assert found["agreement"]["cs"]["spearman"] == pytest.approx(1.0)
        assert found["judge"]["served_by"] == ["judge-1"]
        # every answer of ours is of its own; base and NL say the same of all images of a class
        asked = 12 + 3 + 3
        assert len(server.bodies) == asked
        assert found["tokens"]["prompt_tokens"] == asked * 100
        assert found["cost"] == pytest.approx(asked * (100 * 2 + 20 * 10) / 1e6)
        assert "18 requests: an estimated" in told.err
        assert told.err.index("estimated") < told.err.index("judging base")
        first = (run / "judge.json").read_bytes()
        assert judged(run, server.url, "--price_in", "2", "--price_out", "10", "--json") == 0
        assert json.loads(capsys.readouterr().out) == found
        assert len(server.bodies) == asked
        assert (run / "judge.json").read_bytes() == first


@pytest.mark.parametrize("selected", [True, False])
def test_an_answer_for_whose_image_nothing_was_selected_has_no_cs_without_a_judge(run: Path, *, selected: bool) -> None:
    """As in metrics.json (evaluate.count): it is neither 0 nor in the mean."""
    if not selected:
        rmtree(run / "stages" / "select-test")
        manifest = read_manifest(run)
        del manifest["stages"]["select-test"]
        (run / "manifest.json").write_text(json.dumps(manifest))
    judging = Judging(run, round="1")
    values = {name: own.cs for name, own in judging.unjudged(judging.predictions["round-1"]).items()}
    assert values == {name: 1.0 if selected and name != BARE else None for name in IDS}


def test_the_page_is_written_anew(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(honest) as server:
        assert judged(run, server.url) == 0
        assert "has no page of it yet" in capsys.readouterr().err
        write_run(run, metrics(), [])
        assert judged(run, server.url, "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == read(run)
    assert f"Wrote {run / 'report.html'}" in told.err
    page = (run / "report.html").read_text()
    assert "What a language model says as judge" in page
    assert "j was asked of each answer" in page


def test_a_judge_that_dies_half_way_is_told_and_goes_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda body, number: honest(body) if number < 10 else fails(500)) as server:
        assert judged(run, server.url, "--round", "1", "--concurrency", "1") == 1
        found = read(run)
        counts = {model: (of["n"], sum(of["missing"].values())) for model, of in found["models"].items()}
        assert sum(n for n, _ in counts.values()) == 10
        assert counts["round-1"] == (10, 2)
        assert found["models"]["round-1"]["ee"] == 1.0  # of ten, not of twelve
        assert "the server answered 500" in capsys.readouterr().err
        before = len(server.bodies)
        server.meet = honest
        assert judged(run, server.url, "--round", "1") == 0
        assert len(server.bodies) - before == 2 + 3
        assert {of["n"] for of in read(run)["models"].values()} == {12}


def test_nonsense_about_one_answer_is_one_missing_verdict(run: Path) -> None:
    def meet(body: Body, number: int) -> Act:
        odd = "Image 2" in material(body)["answer"] and "Fish" in material(body)["answer"]
        return says({"reasons": [], "explains": True, "score": 11}) if odd else honest(body)

    with serving(meet) as server:
        assert judged(run, server.url, "--round", "1") == 1
    ours = read(run)["models"]["round-1"]
    assert (ours["n"], ours["missing"], ours["cs"]) == (11, {"the answer has another form": 1}, 0.9)


def test_answers_are_read_with_the_words_that_the_run_had(run: Path) -> None:
    words = {"labels": list(CONCEPTS), "concepts": CONCEPTS, "aliases": {}}
    (run / VOCABULARY_FILE).write_text(json.dumps(words))
    (run.parent / "concepts.yaml").unlink()
    assert set(Judging(str(run)).concepts.values()) == set(map(tuple, CONCEPTS.values()))


def test_a_judge_that_is_down_leaves_the_last_figures(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "judge.json").write_text("{}")
    assert judged(run, f"http://127.0.0.1:{free_port()}/v1") == 1
    assert "No answer was judged" in capsys.readouterr().err
    assert read(run) == {}


def test_a_refused_key_stops_the_judge(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(lambda body, number: fails(401)) as server:
        assert judged(run, server.url) == 1
        assert len(server.bodies) <= 4
    assert "refuses the key" in capsys.readouterr().err


def test_a_sample_is_the_same_for_every_model_and_said_to_be_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(honest) as server:
        assert judged(run, server.url, "--limit", "5") == 0
    assert {of["n"] for of in read(run)["models"].values()} == {5}
    assert (read(run)["images"], read(run)["of"]) == (5, 12)
    assert "5 images drawn from 12" in " ".join(capsys.readouterr().out.split())
    judging = Judging(run, limit=5)
    assert len({tuple(p.example_id for p in ps) for ps in judging.predictions.values()}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--round", "2"), "no answers of round '2' on test yet"),
        (("--limit", "0"), "limit is 0, but takes a whole number, at least 1"),
    ],
)
def test_what_cannot_be_judged_is_told(
    run: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert judged(run, "http://localhost:1/v1", *options) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(tmp_path, "http://localhost:1/v1") == 1
    assert "no run folder" in capsys.readouterr().err


def test_the_table_shows_what_is_missing_and_escapes_names(capsys: pytest.CaptureFixture[str]) -> None:
    agreed = {"ee": {"n": 2, "raw": 0.5, "kappa": None}}
    of = {"n": 2, "missing": {"timed [red]out": 3}, "ee": 0.5, "ee_interval": [0.0, 1.0], "agreement": agreed}
    found = {
        "judge": {"model": "[bold]m"}, "split": "test", "images": 5, "of": 5, "models": {"[i]base": of},
        "agreement": agreed, "cost": 1.5,
        "tokens": {"requests": 2, "prompt_tokens": 1234, "completion_tokens": 5, "unmetered": 1},
    }  # fmt: skip
    console = Console(width=120, record=True)
    print_judged(decode(Judgement, found), console)
    shown = console.export_text()
    for part in ("[bold]m", "[i]base", "50.0 % (0.0\u2013100)", "1,234 tokens", "1.50 at the prices", "1 replies"):
        assert part in shown
    assert "3 answers have no verdict: timed [red]out (3)" in capsys.readouterr().err
