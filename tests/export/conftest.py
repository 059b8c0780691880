"""One small run of the shipped base, from which all exports of these tests are made."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from exported import small_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield small_run(tmp_path_factory.mktemp("exports"))
    torch.set_num_threads(threads)
