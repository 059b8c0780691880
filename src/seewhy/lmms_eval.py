"""lmms-eval (https://github.com/EvolvingLMMs-Lab/lmms-eval) on a run's models, in whatever environment it lives in.

Its requirements clash with most other packages', so it is called as a program and never imported. Results are kept
below RUN/general/, by the weights of the model, and what is there is not computed again.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from seewhy.errors import SeeWhyError
from seewhy.progress import say
from seewhy.proof.general import Scores, read_lmms_results
from seewhy.run_models import RunModel

MODELS = {
    "llava": "llava_hf",
    "llava_next": "llava_hf",
    "qwen2_vl": "qwen2_vl",
    "qwen2_5_vl": "qwen2_5_vl",
    "qwen3_vl": "qwen3_vl",
    "gemma3": "gemma3",
    "internvl": "internvl_hf",
}
"""model_type of a model folder -> lmms-eval's name for what loads it."""

INSTALL = (
    "It wants an environment of its own: `python -m venv lmms`, `lmms/bin/pip install lmms-eval`,"
    " and then --lmms_eval 'lmms/bin/python -m lmms_eval'."
)


def find_command(given: str | None) -> list[str]:
    """What starts lmms-eval: `given`, or `lmms_eval` on the PATH. Raises SeeWhyError where there is no such program."""
    for program in (given,) if given else ("lmms_eval", "lmms-eval"):
        command = shlex.split(program)
        if command and shutil.which(command[0]):
            return command
    if given:
        raise SeeWhyError(f"--lmms_eval: there is no program {given!r}. {INSTALL}")
    raise SeeWhyError(f"lmms-eval is not installed: there is no lmms_eval on the PATH. {INSTALL}")


def model_kind(model: RunModel, given: str | None) -> str:
    """lmms-eval's name for what loads a model. Raises SeeWhyError where it is not known and not given."""
    if given:
        return given
    try:
        model_type = json.loads((Path(model.path) / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError):
        model_type = "unknown"
    if model_type not in MODELS:
        raise SeeWhyError(
            f"It is not known by which name lmms-eval loads a model of type {model_type!r} ({model.path}):"
            " say it with --lmms_model (its list: `python -m lmms_eval --model list`)."
        )
    return MODELS[model_type]


def command_line(command: Sequence[str], model: RunModel, kind: str, tasks: Sequence[str], output: Path) -> list[str]:
    """The whole call. Raises SeeWhyError for a path that its options cannot hold."""
    if "," in model.path or "=" in model.path:
        raise SeeWhyError(f"lmms-eval cannot be told of {model.path}: rename the folder, without ',' and '='.")
    return [
        *command, "--model", kind, "--model_args", f"pretrained={model.path}", "--tasks", ",".join(tasks),
        "--batch_size", "1", "--output_path", str(output),
    ]  # fmt: skip


def scores(model: RunModel, tasks: Sequence[str], command: Sequence[str], kind: str, folder: Path) -> Scores:
    """The scores of one model, computed unless `folder` holds them. lmms-eval's own progress is shown as it runs."""
    output = folder / model.digest.replace("/", "-")[:64]
    if found := read_lmms_results(output, tasks):
        say(f"{model.name}: lmms-eval's results are there")
        return found
    say(f"{model.name}: lmms-eval on {', '.join(tasks)}")
    output.mkdir(parents=True, exist_ok=True)
    line = command_line(command, model, kind, tasks, output)
    try:
        ended = subprocess.run(line, stdout=2, check=False).returncode  # its tables go where its progress goes
    except OSError as error:
        raise SeeWhyError(f"lmms-eval cannot be started ({error.strerror}): {shlex.join(line)}") from error
    found = read_lmms_results(output, tasks) if ended == 0 else None
    if not found:
        how = f"ended with code {ended}" if ended else "left no results for these tasks"
        raise SeeWhyError(f"lmms-eval {how}; its messages are above. The call was: {shlex.join(line)}")
    return found
