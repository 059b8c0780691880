"""The verb that looks at a data set: data check."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from seewhy.cli.verb import Verb
from seewhy.settings import load_config

DATA = """\
Look at a data set before a run does.

examples:
  seewhy data check configs/cub200.yaml
"""

CHECK = """\
Look at all of a data set, and list what is wrong with it: broken files, copies and near-copies across splits and
classes, classes with few images, labels inside others, how images are stored, sizes that the model's processor refuses,
the concept bank.

examples:
  seewhy data check configs/cub200.yaml
  seewhy data check configs/cub200.yaml --json > check.json

Exit code 1 where there is an error: a run would stop at it, or its figures would be wrong. Near-copies are found by a
perceptual hash and confirmed by small grey pictures; turned and flipped copies are not found.
"""


def check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=str, help="YAML file of settings")
    parser.add_argument("--json", action="store_true", help="Print JSON, with every file, row and class.")


def check(given: Namespace) -> int:
    import torch

    from seewhy.cost.estimate import outline
    from seewhy.domain.check import check_data
    from seewhy.fieldguide.guide import with_guide
    from seewhy.report.terminal_checks import print_data_check
    from seewhy.vlm.chat import Size, refused_sizes

    config = load_config(given.config)

    def refused(sizes: Iterable[Size]) -> Mapping[Size, str]:
        return refused_sizes(outline(config, torch.float32), sizes)

    with tempfile.TemporaryDirectory() as folder:
        data = with_guide(config.data, Path(folder) / "fieldguide")
        checked = check_data(data, config.evaluate.split, refused_sizes=refused)
    if given.json:
        print(json.dumps(checked.as_json(), indent=2, ensure_ascii=False))
    else:
        print_data_check(checked, Console())
    return int(checked.errors > 0)


VERBS = (
    Verb(
        "data", "look at a data set before a run", DATA, "seewhy data VERB ...",
        verbs=(Verb("check", "lint a data set", CHECK, "seewhy data check CONFIG [--json]", check_arguments, check),),
    ),
)  # fmt: skip
