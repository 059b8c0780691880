"""What `import seewhy` offers, and that it waits for nothing."""

import subprocess
import sys
from importlib import metadata

import pytest

import seewhy


def test_matcher_and_concept_finder_are_public():
    matcher = seewhy.LabelMatcher(["Crow", "Raven"], {"Raven": ["Corvus corax"]})
    assert matcher.is_correct("This is Corvus corax, not a crow.", "Raven")
    assert not matcher.is_correct("This is no raven.", "Raven")
    stated = seewhy.StatedConcepts(["red crown", "black wings"], ["Crow"])
    assert stated("Its crown is red, and it has no black wings.") == ("red crown",)


@pytest.mark.parametrize("name", seewhy.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(seewhy, name) is not None


def test_importing_seewhy_imports_no_large_package():
    large = ("torch", "transformers", "numpy", "pyarrow")
    asked = f"import sys, seewhy; print([name for name in {large} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_verbs_stay_functions_when_packages_of_their_names_are_imported():
    asked = (
        "import seewhy, seewhy.run.folder, seewhy.report.chart, seewhy.export.card\n"
        "from seewhy.run import folder\n"
        "print([callable(getattr(seewhy, name)) for name in ('run', 'report', 'export')], folder.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, True, True] seewhy.run.folder"


def test_the_version_is_that_of_the_installed_package_or_of_a_source_tree(monkeypatch: pytest.MonkeyPatch):
    assert seewhy.__version__ == metadata.version("seewhy")

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(seewhy, "version", missing)
    assert seewhy.__version__ == "0+source"
