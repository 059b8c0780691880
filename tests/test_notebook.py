"""The notebook of examples/ runs from its first cell to its last, and shows its overlays."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (the extra dev)")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (the extra dev)")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "fieldguide.ipynb"


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.slow
def test_the_notebook_runs_and_shows_overlays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEWHY_EXAMPLE_OUTPUT", str(tmp_path / "run"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    tuned, base = [page for data in shown if "seewhy-said" in (page := data.get("text/html", ""))]
    for page in (tuned, base):
        assert page.count("data:image/jpeg;base64,") == 1
        assert page.count("data:image/png;base64,") == page.count('class="seewhy-veil') > 0
    figures = next(data["text/plain"] for data in shown if "before" in data["text/plain"])
    before, after = (float(part.split(":")[1].strip(" }")) for part in figures.split(","))
    assert after > before + 0.05
    assert "sampled answers agree" in tuned
