"""`python -m bench.gpu` on a CPU: every part with tiny shapes, and what it does where a part fails or has no time."""

import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
NAMES = ("tiny-llava", "tiny-qwen2.5-vl")


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`bench` can be imported, and the threads are afterwards what they were."""
    monkeypatch.syspath_prepend(str(ROOT))
    threads = torch.get_num_threads()
    with threadpool_limits():
        yield
    torch.set_num_threads(threads)


def figures_of(tmp_path: Path, *options: str) -> dict[str, Any]:
    path = tmp_path / "gpu.json"
    fixed = ["--device", "cpu", "--shapes", "tiny", "--repetitions", "1", "--threads", "1", "--json", str(path)]
    import_module("bench.gpu.__main__").main([*fixed, *options])
    return json.loads(path.read_text())


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        import_module("bench.gpu.__main__").main(["--help"])
    assert ended.value.code == 0
    assert "python -m bench.gpu --json" in capsys.readouterr().out


@pytest.mark.slow
def test_every_part_leaves_its_figures(tmp_path: Path):
    figures = figures_of(tmp_path)
    assert {name: value for name, value in figures.items() if name.startswith(("error_", "skipped_"))} == {}
    assert figures["card_matmul_tflops"] > 0
    for name in NAMES:
        assert figures[f"tuning_loss_difference_{name}"] < 1e-5
        assert figures[f"tuning_gradient_difference_{name}"] < 1e-4
        assert {
            f"{figure}_{name}"
            for figure in (
                "tuning_tokens_per_second_shared", "tuning_tokens_per_second_separate", "tuning_ratio_separate",
                "tuning_optimizer_seconds", "tuning_rows_seconds_per_image", "merge_seconds",
                "sampling_tokens_per_second_shared", "sampling_tokens_per_second_separate",
                "sampling_tokens_per_second_generate", "sampling_ratio_generate",
                "sampling_read_seconds_shared_2images",
                "evaluation_read_seconds_per_image", "cub_round_minutes", "cub_round_minutes_at_longest",
            )
        } <= figures.keys()  # fmt: skip
        profiles = (tmp_path / "gpu_profiles.txt").read_text()
        assert f"== tuning_{name}" in profiles
        assert f"== sampling_1images_{name}" in profiles
    assert figures["tests_failed"] == 0
    assert figures["tests_passed"] > 10
    assert {"demo_seconds", "demo_seconds_describe", "bench_seconds"} <= figures.keys()


def test_a_part_without_time_is_skipped_and_said(tmp_path: Path):
    figures = figures_of(tmp_path, "--seconds", "0")
    assert {name for name in figures if name.startswith("skipped_")} == {
        *(f"skipped_{name}" for name in NAMES), "skipped_card", "skipped_tests", "skipped_demo",
    }  # fmt: skip


def test_a_second_run_adds_to_the_figures_of_the_first(tmp_path: Path):
    """The first had no time for tuning, the second measures it alone; what failed in the first is no longer said."""
    first = tmp_path / "first.json"
    first.write_text(json.dumps({"card_launch_us": 9.0, f"error_{NAMES[0]}": "stopped: its time was up"}))
    only = ["--shapes", NAMES[0], "--parts", "shapes", "--measure", "tuning", "--earlier", str(first)]
    figures = figures_of(tmp_path, *only)
    assert figures["card_launch_us"] == 9.0
    assert figures[f"tuning_ratio_separate_{NAMES[0]}"] > 0
    assert f"machine_tuning_{NAMES[0]}" in figures
    assert not [name for name in figures if name.startswith(("sampling_", "error_", "skipped_", "cub_"))]
    again = figures_of(tmp_path, "--parts", "none")
    assert {**again, "bench_seconds": 0} == {**figures, "bench_seconds": 0}


def test_what_fails_is_recorded_and_the_rest_goes_on(tmp_path: Path):
    figures = import_module("bench.gpu.figures").Figures(tmp_path / "figures.json")
    with figures.attempt("first"):
        figures.add(before=1.0)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nmore")
    with figures.attempt("second"):
        figures.add(after=2.0)
    assert json.loads((tmp_path / "figures.json").read_text()) == {
        "before": 1.0, "error_first": "OutOfMemoryError: CUDA out of memory. Tried to allocate 3 GiB.", "after": 2.0,
    }  # fmt: skip


def test_a_process_that_hangs_is_ended_with_its_children(tmp_path: Path):
    parts = import_module("bench.gpu.parts")
    child = f"import subprocess, sys; subprocess.run(['sleep', '60']); open({str(tmp_path / 'late')!r}, 'w')"
    start = time.monotonic()
    assert parts.run([sys.executable, "-c", child], 0.5, meanwhile=lambda: None) is None
    assert time.monotonic() - start < 10
    assert parts.run([sys.executable, "-c", "raise SystemExit(3)"], 30, meanwhile=lambda: None) == 3


def test_failed_and_skipped_tests_are_told_apart(tmp_path: Path):
    path = tmp_path / "tests.xml"
    path.write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped message="no GPU"/></testcase>'
        '<testcase name="c"><failure message="assert 1 == 2&#10;more"/></testcase></testsuite></testsuites>'
    )
    assert import_module("bench.gpu.parts").tests_of(path) == {
        "tests_passed": 1, "tests_failed": 1, "tests_skipped": 1, "error_tests": "c: assert 1 == 2",
    }  # fmt: skip


def test_a_round_is_projected_from_what_was_measured():
    projection, shapes = import_module("bench.gpu.projection"), import_module("bench.gpu.shapes")
    shape, name = shapes.SHAPES["llava-7b"], "llava-7b"
    figures = {
        "tuning_optimizer_seconds": 0.04, "tuning_seconds_per_image_shared": 0.2,
        "tuning_seconds_per_image_separate": 0.6, "sampling_read_seconds_shared_1images": 0.1,
        "sampling_token_seconds_shared_1images": 0.03, "sampling_read_seconds_shared_4images": 0.4,
        "sampling_token_seconds_shared_4images": 0.04, "evaluation_read_seconds_per_image": 0.05,
        "evaluation_token_seconds": 0.064, "sampling_seconds_per_image_generate": 12.8,
    }  # fmt: skip
    found = projection.projected({f"{key}_{name}": value for key, value in figures.items()}, name, shape)
    sampling, evaluation = 0.1 + 75 * 0.01, 5_794 * (0.05 + 75 * 0.001)
    shared = (5_994 * (2 * 0.21 + sampling) + evaluation) / 60
    assert found[f"cub_round_minutes_{name}"] == pytest.approx(shared)
    assert found[f"cub_round_papers_ratio_{name}"] == pytest.approx(143 / shared)
    plain = (5_994 * (2 * 0.61 + 75 * 0.2) + evaluation) / 60
    assert found[f"cub_round_minutes_separate_and_generate_{name}"] == pytest.approx(plain)
    assert projection.projected({}, name, shape) == {}


def test_overlapping_spans_count_once():
    union = import_module("bench.gpu.profiles").union
    assert union([(5, 9), (0, 4), (3, 6), (20, 21)]) == 10


def test_an_unknown_shape_or_part_is_named(capsys: pytest.CaptureFixture[str]):
    main = import_module("bench.gpu.__main__").main
    for option in ("--shapes", "--parts"):
        with pytest.raises(SystemExit):
            main([option, "gpt"])
    assert "--parts knows no gpt" in capsys.readouterr().err


def test_carried_wheels_are_of_the_versions_that_are_tested():
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    carried = dict(line.split("==") for line in (ROOT / "bench" / "gpu_wheels.txt").read_text().splitlines())
    assert {name: tested.get(name, version) for name, version in carried.items()} == carried
