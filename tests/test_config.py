"""Settings: every shipped file is read, every mistake is named with its place, and the command line keeps its word."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import seewhy.cli
from seewhy.cli import main
from seewhy.cli.verbs import DEMO_SETTINGS, VERBS
from seewhy.config import RunConfig
from seewhy.errors import SeeWhyError
from seewhy.report import page
from seewhy.results import Figures, Metrics
from seewhy.results_json import Figure
from seewhy.run import loop
from seewhy.settings import known_settings, load_config, restore_config

ROOT = Path(__file__).parents[1]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "birds.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_configuration_is_read() -> None:
    paths = sorted((ROOT / "configs").glob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), RunConfig), path


def test_the_field_guide_in_full_is_the_demo_and_what_its_clock_leaves_out() -> None:
    demo, full = (asdict(load_config(ROOT / "configs" / f"{name}.yaml")) for name in ("fieldguide", "fieldguide_full"))
    differing = {name for name in demo if demo[name] != full[name]}
    assert differing == {"output", "rounds", "tune"}
    assert {name for name in demo["tune"] if demo["tune"][name] != full["tune"][name]} == {
        "name_weight", "replay", "replay_ratio", "covered",
    }  # fmt: skip


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    for text in ("", "# nothing yet\n", "{}"):
        assert load_config(written(tmp_path, text)) == RunConfig()


def test_a_file_then_overrides(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        output: runs/krähe
        controls: [nl]
        data: {source: photos, noun: chest X-ray, truth: null}
        tune:
          epochs: 3
          learning_rate: 1e-4
          augment:
            flip: 0
        """,
    )
    overrides = ["--tune.epochs", "1", "--data.noun=leaf", "--model.trust_remote_code", "true", "--controls", "[]"]
    overrides += ["--model.revision", "1234567", "--select.threshold_std", "-0.5"]
    config = load_config(path, overrides)
    assert (config.output, config.controls, config.data.source, config.data.truth) == ("runs/krähe", (), "photos", None)
    assert (config.tune.epochs, config.tune.learning_rate, config.tune.augment.flip) == (1, 1e-4, 0.0)
    assert (config.data.noun, config.model.trust_remote_code, config.model.revision) == ("leaf", True, "1234567")
    assert config.select.threshold_std == -0.5
    assert config.sample == RunConfig().sample
    assert load_config(path).controls == ("nl",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tune:\n  epoch: 1", r"birds\.yaml, line 2: there is no setting tune\.epoch\. Did you mean tune\.epochs\?"),
        ("tune: {augment: {flp: 1}}", r"line 1: there is no setting tune\.augment\.flp\. .* tune\.augment\.flip\?"),
        ("\nepochs: 1", r"birds\.yaml, line 2: there is no setting epochs\. Did you mean tune\.epochs\?"),
        ("dta: {noun: leaf}", r"there is no setting dta\. Did you mean data\?"),
        ("tune: {leaning_rate: 1}", r"there is no setting tune\.leaning_rate\. Did you mean tune\.learning_rate\?"),
        ("learning_rate: 1", r"there is no setting learning_rate\. Did you mean tune\.learning_rate\?"),
        ("tune: {flip: 1}", r"there is no setting tune\.flip\. Did you mean tune\.augment\.flip\?"),
        ("model: {enigne: {port: 1}}", r"there is no setting model\.enigne\. Did you mean model\.engine\?"),
        ("data: {noun: 2026-13-13}", r"line 1: data\.noun cannot be read: month must be in"),
        ("rounds: true", r"rounds is True, but takes a whole number"),
        ("seed: 1\nseed: 2", r"line 2: seed stands here and on line 1\. Keep one"),
        ("tune: {epochs: 1}\ntune.epochs: 2", r"line 2: tune\.epochs stands here and on line 1"),
        ("tune:\n", r"line 1: tune holds settings"),
        ("tune: 3", r"line 1: tune holds settings"),
        ("- tune", r"line 1: the file holds settings"),
        ("rounds:", r"line 1: rounds has no value\. It takes a whole number"),
        ("rounds: four", r"line 1: rounds is four, but takes a whole number"),
        ("tune: {epochs: 1.5}", r"tune\.epochs is 1\.5, but takes a whole number"),
        ("data:\n  noun: no", r"line 2: data\.noun is False, but takes a text"),
        ("model: {revision: 1234567}", r"model\.revision is 1234567, but takes a text \(in quotes\) or null"),
        ("model: {dtype: float8}", r"model\.dtype is float8, but takes one of auto, float32"),
        ("controls: nl", r"controls is nl, but takes a list"),
        ("controls: [gel]", r"controls is \['gel'\], but takes a list of nl"),
        ("shard_size: 0", r"line 1: shard_size is 0, but takes a whole number, at least 1\."),
        ("seed: -1", r"seed is -1, but takes a whole number, at least 0"),
        ("sample: {top_p: 0}", r"sample\.top_p is 0, but takes a number above 0 and at most 1"),
        ("synthesise: {simple_share: 1.2}", r"simple_share is 1\.2, but takes a number from 0 to 1"),
        ("tune: {learning_rate: .nan}", r"learning_rate is nan, but takes a number from 1e-9 to 1"),
        ("tune: {learning_rate: .inf}", r"learning_rate is inf, but takes a number from 1e-9 to 1"),
        ("select: {threshold_std: .nan}", r"threshold_std is nan, but takes a finite number"),
        ("data: [", r"birds\.yaml is not valid YAML: .*line 1"),
        ("seed: 1\n---\nseed: 2", r"birds\.yaml is not valid YAML"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SeeWhyError, match=f"(?s){message}"):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--tune.epoch", "1"], r"command line: there is no option --tune\.epoch\. Did you mean --tune\.epochs\?"),
        (["--epochs=1"], r"there is no option --epochs\. Did you mean --tune\.epochs\?"),
        (["--tune", "{epochs: 1}"], r"--tune\. It is a group: use --tune\.method"),
        (["--tune.epochs", "x"], r"command line: --tune\.epochs is x, but takes a whole number"),
        (["--rounds", "null"], r"command line: --rounds is null, but takes a whole number"),
        (["--tune.epochs"], r"--tune\.epochs: expected one argument"),
        (["--tune.epochs", "0"], r"command line: --tune\.epochs is 0, but takes a whole number, at least 1"),
        (["--learning_rate", "1"], r"no option --learning_rate\. Did you mean --tune\.learning_rate\?"),
        (["other.yaml"], r"[Uu]nrecognized arguments: other\.yaml"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(SeeWhyError, match=message):
        load_config(written(tmp_path, "seed: 1"), overrides)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 1")
    with pytest.raises(SeeWhyError, match=r"no configuration file .*bird\.yml\. Did you mean .*birds\.yaml\?"):
        load_config(tmp_path / "bird.yml")
    with pytest.raises(SeeWhyError, match="cannot be read: Is a directory"):
        load_config(tmp_path)
    path.write_bytes(b"output: kr\xe4he")
    with pytest.raises(SeeWhyError, match=r"birds\.yaml is not UTF-8 text \(byte 10\)"):
        load_config(path)


def test_a_configuration_survives_its_manifest() -> None:
    config = replace(RunConfig(seed=3, controls=("nl",)), tune=replace(RunConfig().tune, trackers=("wandb",)))
    assert restore_config(json.loads(json.dumps(asdict(config)))) == config
    with pytest.raises(SeeWhyError, match=r"manifest\.json: .*epoch"):
        restore_config({"tune": {"epoch": 1}})


def test_every_setting_is_described_and_its_default_is_in_its_range() -> None:
    for name, setting in known_settings().items():
        assert setting.help.strip().endswith("."), name
        assert setting.parse(setting.default, "the defaults") == setting.default, name


# --- the command ------------------------------------------------------------------------------------------------------


METRICS = Metrics(
    Figures({"accuracy": Figure(0.05)}, split="test", n=20),
    {"rounds": (Figures({"accuracy": Figure(0.95)}, round=1),)},
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Stands in for the loop and the page, and keeps what they are asked to do."""
    made: list[tuple] = []

    def called(name: str, *arguments: object) -> Metrics:
        made.append((name, *arguments))
        return METRICS

    monkeypatch.setattr(loop, "run", lambda config, *, discard_stale: called("run", config, discard_stale))
    monkeypatch.setattr(loop, "evaluate", lambda run, split, **_: called("evaluate", run, split))

    def write_page(run: str, *, heatmaps: bool, **_: object) -> Path:
        called("report", run, heatmaps)
        return Path(run) / "report.html"

    monkeypatch.setattr(page, "write_page", write_page)
    return made


def test_the_verbs_call_their_functions(tmp_path: Path, calls: list[tuple], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(written(tmp_path, "seed: 7\noutput: runs/b"))
    config = load_config(path, ["--tune.epochs", "1"])
    demo = load_config(DEMO_SETTINGS, ["--output", "runs/demo"])
    expected = {
        # where the model looks is found by `report` alone, which loads it
        ("run", path, "--tune.epochs", "1"): [("run", config, False), ("report", "runs/b", False)],
        ("run", "--tune.epochs=1", "--discard_stale", "true", path): [
            ("run", config, True),
            ("report", "runs/b", False),
        ],
        ("demo",): [("run", demo, False), ("report", "runs/demo", False)],
        ("demo", "--output", "here"): [("run", replace(demo, output="here"), False), ("report", "here", False)],
        ("evaluate", "runs/a"): [("evaluate", "runs/a", "test")],
        ("evaluate", "runs/a", "--split", "val"): [("evaluate", "runs/a", "val")],
        ("report", "runs/a"): [("report", "runs/a", True)],
    }
    for arguments, made in expected.items():
        calls.clear()
        assert main(arguments) == 0
        assert calls == made
        shown = capsys.readouterr().out
        assert ("95.0 %" in shown) == (arguments[0] != "report")
        assert (f"Wrote {made[-1][1]}/report.html" in shown) == (made[-1][0] == "report")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "{}", "--tune.epoc", "1"], "there is no option --tune.epoc. Did you mean --tune.epochs?"),
        (["run", "{}", "--discard_stal", "true"], "Did you mean --discard_stale?"),
        (["run", "{}", "--discard_stale=perhaps"], "--discard_stale is perhaps, but takes true or false"),
        (["run"], "required"),
        (["rnu", "{}"], "There is no verb 'rnu'. Did you mean run?"),
        (["evaluate", "runs/a", "--split", "all"], "--split is all, but takes one of train, val, test"),
        (["evaluate", "runs/a", "--spilt", "val"], "no option --spilt. Did you mean --split?"),
        (["explain", "runs/a"], "required: PHOTO"),
        (["doctor", "--rounds", "1"], "give CONFIG too"),
        (["run", "{}.missing"], "no configuration file"),
    ],
)
def test_a_mistake_is_one_red_block_and_exit_code_1(
    tmp_path: Path,
    calls: list[tuple],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    path = str(written(tmp_path, "seed: 7"))
    arguments = [argument.replace("{}", path) for argument in arguments]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert message in error
    assert "Traceback" not in error
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("\x1b[31mError: ")
    assert calls == []


def test_an_interrupted_run_says_that_it_resumes(
    tmp_path: Path, calls: list[tuple], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(config: RunConfig, *, discard_stale: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "run", interrupted)
    assert main(["run", str(written(tmp_path, "seed: 7"))]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def test_an_error_of_ours_keeps_its_traceback(
    tmp_path: Path, calls: list[tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "run", lambda config, *, discard_stale: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


@pytest.mark.parametrize("verb", [[], ["data"], ["concepts"], *(verb.name.split() for verb in VERBS)], ids=" ".join)
def test_help_begins_with_examples(capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert 0 < shown.index("examples:") < shown.index("options:")
    assert f"  seewhy {' '.join(verb)}" in shown[shown.index("examples:") :]
    if verb == ["run"]:
        assert "Never keep fewer than this many concepts." in shown
        assert "relative to the current directory" in shown


def test_help_and_version_do_not_wait_for_torch() -> None:
    code = (
        "import sys, seewhy.cli\n"
        "for argument in ('--help', '--version'):\n"
        "    try:\n"
        "        seewhy.cli.main([argument])\n"
        "    except SystemExit as ended:\n"
        "        assert not ended.code\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & sys.modules.keys()))\n"
    )
    source = str(Path(seewhy.cli.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r})\n{code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    *_, version, heavy = done.stdout.splitlines()
    assert version.startswith("seewhy ")
    assert heavy == "[]"
