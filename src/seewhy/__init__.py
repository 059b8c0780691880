"""SeeWhy: teach a vision-language model to name what it sees and to say why.

    import seewhy

    config = seewhy.load_config("configs/fieldguide.yaml", ["--rounds", "2"])
    metrics = seewhy.run(config)              # what `seewhy run` does
    seewhy.evaluate(config.output, "val")     # measure the same models on another split
    seewhy.write_page(config.output)          # RUN/report.html

    matcher = seewhy.LabelMatcher(["Crow", "Raven"], {"Raven": ["Corvus corax"]})
    matcher.is_correct("This is a raven, not a crow.", "Raven")                      # True
    seewhy.StatedConcepts(["red crown"], names=["Crow"])("Its crown is bright red.")  # ("red crown",)

Names are imported when they are first used, so that `import seewhy` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seewhy.errors import SeeWhyError

if TYPE_CHECKING:
    from seewhy.domain.domain import Domain, load_domain
    from seewhy.domain.labels import LabelMatcher
    from seewhy.proof.stated import StatedConcepts
    from seewhy.report.page import write_page
    from seewhy.run.loop import evaluate, run
    from seewhy.settings import load_config, preset_config

_PLACES = {
    "Domain": "seewhy.domain.domain",
    "load_domain": "seewhy.domain.domain",
    "LabelMatcher": "seewhy.domain.labels",
    "StatedConcepts": "seewhy.proof.stated",
    "run": "seewhy.run.loop",
    "evaluate": "seewhy.run.loop",
    "write_page": "seewhy.report.page",
    "load_config": "seewhy.settings",
    "preset_config": "seewhy.settings",
}

__all__ = [
    "Domain",
    "LabelMatcher",
    "SeeWhyError",
    "StatedConcepts",
    "evaluate",
    "load_config",
    "load_domain",
    "preset_config",
    "run",
    "write_page",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'seewhy' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
