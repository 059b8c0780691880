"""What an export refuses, with nothing left on disk."""

from pathlib import Path

import pytest

from seewhy.cli import main
from seewhy.errors import SeeWhyError
from seewhy.export.build import export_run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "mergd"], "--model is mergd, but takes a list of merged, adapter"),
        (["--data", "parquet,csv"], "--data is parquet,csv, but takes a list of parquet, trl"),
        (["--model", "none", "--data", "none"], "nothing to export"),
        (["--data", "none", "--images"], "--images copies"),
        (["--round", "7"], "no measured model of round 7; it has those of rounds 1, 2"),
        (["--round", "first"], "--round is 'first'"),
        (["--push_to_hub", "a/b/c"], "no USER/NAME"),
    ],
)
def test_bad_options(
    run: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--output", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_bad_outputs(run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    (tmp_path / "file").touch()
    for output, message in (
        (tmp_path / "thesis", "is not empty, and no export"),
        (tmp_path / "file", "a file"),
        (run, "the run's own folder"),
    ):
        with pytest.raises(SeeWhyError, match=message):
            export_run(str(run), str(output))
    with pytest.raises(SeeWhyError, match="no run folder"):
        export_run(str(tmp_path / "nowhere"), str(tmp_path / "out"))
