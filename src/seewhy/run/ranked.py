"""One rank of a run that `workers.count` asked for: `python -m seewhy.run.ranked FILE`, started by `driving.py`."""

import json
import os
import sys
from pathlib import Path

import torch

from seewhy.cli import fail
from seewhy.errors import SeeWhyError
from seewhy.run import loop
from seewhy.settings import restore_config


def main(file: str) -> int:
    """Make the run that a file describes together with the other ranks; return the exit code."""
    given = json.loads(Path(file).read_text())
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["WORLD_SIZE"])))
    try:
        loop.run(restore_config(given["settings"]), **given["options"])
    except SeeWhyError as error:
        return fail(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
