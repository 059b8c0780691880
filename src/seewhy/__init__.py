"""SeeWhy: teach a vision-language model to name what it sees and to say why.

    import seewhy

    config = seewhy.load_config("configs/fieldguide.yaml", ["--rounds", "2"])
    metrics = seewhy.run(config)               # what `seewhy run` does
    seewhy.evaluate(config.output, "val")      # measure the same models on another split
    seewhy.report(config.output)               # RUN/report.html

Every verb of the `seewhy` command is a function here; docs/api.md lists them with an example each. Other names are
imported when they are first used, so that `import seewhy` does not wait for torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

# Packages with the names of verbs: once imported, they do not replace the functions below as attributes of `seewhy`.
import seewhy.export
import seewhy.report
import seewhy.run  # noqa: F401
from seewhy.api import (
    Budget,
    Door,
    audit,
    chat,
    check,
    check_concepts,
    compare,
    diagnose,
    draft_concepts,
    evaluate,
    explain,
    export,
    faithfulness,
    general,
    judge,
    plan,
    report,
    review,
    run,
    serve,
    trace,
    verify,
)
from seewhy.config import EngineConfig, RunConfig
from seewhy.errors import SeeWhyError

if TYPE_CHECKING:
    from seewhy.domain.domain import Domain, load_domain
    from seewhy.domain.labels import LabelMatcher
    from seewhy.endpoint import Service
    from seewhy.proof.stated import StatedConcepts
    from seewhy.run.finished import FinishedRun
    from seewhy.settings import load_config, preset_config

    __version__: str

_PLACES = {
    "Domain": "seewhy.domain.domain",
    "FinishedRun": "seewhy.run.finished",
    "LabelMatcher": "seewhy.domain.labels",
    "Service": "seewhy.endpoint",
    "StatedConcepts": "seewhy.proof.stated",
    "load_config": "seewhy.settings",
    "load_domain": "seewhy.domain.domain",
    "preset_config": "seewhy.settings",
}

__all__ = [
    "Budget",
    "Domain",
    "Door",
    "EngineConfig",
    "FinishedRun",
    "LabelMatcher",
    "RunConfig",
    "SeeWhyError",
    "Service",
    "StatedConcepts",
    "audit",
    "chat",
    "check",
    "check_concepts",
    "compare",
    "diagnose",
    "draft_concepts",
    "evaluate",
    "explain",
    "export",
    "faithfulness",
    "general",
    "judge",
    "load_config",
    "load_domain",
    "plan",
    "preset_config",
    "report",
    "review",
    "run",
    "serve",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        try:
            return version("seewhy")
        except PackageNotFoundError:
            return "0+source"
    if name not in _PLACES:
        raise AttributeError(f"module 'seewhy' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
