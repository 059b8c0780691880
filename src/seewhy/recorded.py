"""The settings that a run folder records. The folder may come from anybody, so they are read and never obeyed.

What may run code, start a program or send images to a server (`model.trust_remote_code`, `model.engine`) is up to
whoever opens the run, on the command line; what the folder asks for is said. `seewhy run CONFIG` obeys CONFIG, a file
that the user names.

    config = recorded_config("runs/fieldguide")
    config = recorded_config("runs/birds", trust_remote_code=True)
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

from seewhy.config import EngineConfig, RunConfig
from seewhy.errors import SeeWhyError
from seewhy.progress import say
from seewhy.run_folder import read_manifest
from seewhy.settings import restore_config


def recorded_config(
    run: str | Path, *, trust_remote_code: bool | None = None, engine: EngineConfig | None = None, quiet: bool = False
) -> RunConfig:
    """The settings of a run, with what may run code as the caller allows it: not at all, and in this process.

    Says what of it the run was made with, and how to allow it; `quiet` is for those who load no model, as it is for the
    engine of those who ask none (`engine` None). Raises SeeWhyError where there is no run.
    """
    recorded = read_manifest(Path(run)).get("config")
    if not recorded:
        raise SeeWhyError(f"{run} is no run folder: it has no manifest. Start a run with `seewhy run CONFIG.yaml`.")
    made = restore_config(recorded)
    model = replace(made.model, trust_remote_code=bool(trust_remote_code), engine=engine or EngineConfig())
    if made.model.trust_remote_code and trust_remote_code is None and not quiet:
        _tell(f"{run} was made with code that came with its model. It is not run: if you trust it, read it and add "
              "--trust_remote_code true.")  # fmt: skip
    return replace(made, model=model, output=str(run))


def tell_engine(run: str | Path, engine: EngineConfig | None) -> None:
    """Say that answers come from this process, where a run was made through a server and none is given."""
    recorded = read_manifest(Path(run)).get("config")
    if recorded and engine is None and restore_config(recorded).model.engine.kind == "server":
        _tell(f"{run} was made through a server; its models answer in this process now. For a server add "
              "--engine.base_url URL or --engine.command COMMAND.")  # fmt: skip


@cache
def _tell(text: str) -> None:
    """Say it once."""
    say(text)
