"""Export a run's model and training data, with cards, as one folder that appears whole or not at all (`seewhy export`).

The folder can be uploaded to the Hugging Face Hub. It stays on disk if the Hub refuses it.

| in OUTPUT | |
| --- | --- |
| `model/` | merged weights, processor, chat template, generation config, README.md |
| `adapter/` | one adapter on the untuned base, README.md |
| `data/` | the training data, README.md |
| `export.json` | what it was made from, and its files |

    export_run("runs/fieldguide", "exported", model=("merged",), data=("trl",))
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from httpx import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from seewhy.errors import SeeWhyError
from seewhy.export import card
from seewhy.export.dataset import FORMS, taught, write_forms
from seewhy.export.model import ExportedRound, write_adapter, write_merged
from seewhy.run.progress import say
from seewhy.run.storage import disk, write_atomically

SUFFIX = {"model": "", "adapter": "-adapter", "data": "-data"}
"""What each part of an export is called on the Hub, after the name that the user gives."""


def check_name(name: str) -> None:
    """Raises SeeWhyError for what is no name of a repository, before any work."""
    try:
        for suffix in SUFFIX.values():
            validate_repo_id(name + suffix)
    except HFValidationError as error:
        raise SeeWhyError(f"--push_to_hub is {name!r}, which is no USER/NAME of the Hub. ({error})") from error


def push(parts: dict[str, Path], name: str, *, private: bool) -> list[str]:
    """Upload each part ('model', 'adapter', 'data') to a repository of its own; returns where they are now.

    The token is that of `hf auth login` or HF_TOKEN. Raises SeeWhyError where the Hub cannot be reached or refuses, and
    where `private` is wanted and a repository is there that is public, before anything is uploaded.
    """
    api, places = HfApi(), []
    if private:
        for part in parts:
            look_first(api, name, part)
    for part, folder in parts.items():
        repository, kind = name + SUFFIX[part], "dataset" if part == "data" else "model"
        try:
            say(f"uploading {folder} as {repository}")
            created = api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
            if private:  # the Hub takes the word "private" for a new repository alone
                refuse_public(api, created.repo_id, kind)
            api.upload_folder(
                repo_id=created.repo_id, folder_path=folder, repo_type=kind, commit_message="Exported by SeeWhy"
            )
        except (HTTPError, OSError) as error:
            done = f" {', '.join(places)} is uploaded." if places else ""
            raise SeeWhyError(
                f"{repository} could not be pushed to the Hub: {_why(error)} The export stays in "
                f"{folder.parent}.{done} Give the same command again once that is mended, or use `hf upload`."
            ) from error
        places.append(str(created))
    return places


def look_first(api: HfApi, name: str, part: str) -> None:
    """Raise SeeWhyError where the repository of a part is known to be public, before work is done for it."""
    with suppress(HTTPError, OSError):  # what is the matter is said when it is created
        refuse_public(api, name + SUFFIX[part], "dataset" if part == "data" else "model")


def refuse_public(api: HfApi, repository: str, kind: str) -> None:
    """Raise SeeWhyError where a repository is public, and what the Hub raises where that cannot be seen."""
    if not api.repo_info(repository, repo_type=kind).private:
        raise SeeWhyError(
            f"{repository} is on the Hub already and is public, so what you upload would be public in spite of "
            "--private. Make it private in its settings there, or choose another name."
        )


def _why(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids it."
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403) or isinstance(error, LocalTokenNotFoundError):
        return "it did not accept the token. Log in with `hf auth login` or set HF_TOKEN to one that may write there."
    first = (str(error) or type(error).__name__).splitlines()[0]
    return f"{first.rstrip('.')}."


MODELS = ("merged", "adapter")
RECORD = "export.json"
"""The file by which an export of ours is known again."""


def export_run(
    run: str,
    output: str,
    *,
    round: str | None = None,
    model: Sequence[str] = ("merged",),
    data: Sequence[str] = ("parquet",),
    images: bool = False,
    hub_name: str | None = None,
    private: bool = False,
    trust_remote_code: bool | None = None,
) -> dict[str, Any]:
    """Write the chosen forms of a run to `output`, and push them to the Hub under `hub_name` where one is given.

    `round` is a number, 'last' or 'best'; None is the round gate's best, or the last one of a run without a gate.
    `images` copies the images of the data set into it. An earlier export in `output` is replaced. Returns what
    export.json holds, and under `pushed` where it is on the Hub. Raises SeeWhyError, with nothing changed, for what
    cannot be exported; and where the Hub refuses, with the export on disk.
    """
    _check_forms(model, data, images=images)
    written = {"model": "merged" in model, "adapter": "adapter" in model, "data": bool(data)}
    parts = [part for part, is_written in written.items() if is_written]
    if hub_name:
        check_name(hub_name)
        if private:  # merging takes minutes
            for part in parts:
                look_first(HfApi(), hub_name, part)
    target = Path(output).expanduser().resolve()
    check_target(target, run)
    finished = ExportedRound.open(run, round, trust_remote_code=trust_remote_code)
    with disk(target), _unfinished(target) as unfinished:
        record = _write(finished, unfinished / "new", model, data, images=images, hub_name=hub_name)
        _replace(target, unfinished)
    places = push({part: target / part for part in parts}, hub_name, private=private) if hub_name else []
    return {**record, "pushed": places}


def _check_forms(model: Sequence[str], data: Sequence[str], *, images: bool) -> None:
    for option, given, known in (("--model", model, MODELS), ("--data", data, FORMS)):
        if unknown := [name for name in given if name not in known]:
            raise SeeWhyError(f"{option} has {unknown[0]!r}, but takes {', '.join(known)}, joined by commas, or none.")
    if not model and not data:
        raise SeeWhyError("Both --model and --data are none, so there is nothing to export.")
    if images and not data:
        raise SeeWhyError("--images copies the images of a data set: add --data parquet, or another form.")


def check_target(target: Path, run: str) -> None:
    """Raises SeeWhyError for a folder that holds anything but an earlier export."""
    if target.resolve().is_relative_to(Path(run).resolve() / "stages") or target.resolve() == Path(run).resolve():
        raise SeeWhyError(f"--output is {target}, the run's own folder: choose another one.")
    if target.is_file():
        raise SeeWhyError(f"--output is {target}, a file: choose a folder.")
    if not target.is_dir() or not any(target.iterdir()):
        return
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
        ours = {*record["files"], RECORD}
    except (OSError, ValueError, KeyError, TypeError):
        raise SeeWhyError(f"{target} is not empty, and no export of SeeWhy's. Choose another --output.") from None
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    if foreign := sorted(found - ours):
        raise SeeWhyError(
            f"{target} holds an export and also {foreign[0]}, which is none of it and would be lost. Move it away, or "
            "choose another --output."
        )


def _write(
    run: ExportedRound, target: Path, model: Sequence[str], data: Sequence[str], *, images: bool, hub_name: str | None
) -> dict[str, Any]:
    """Write everything to `target` and return what its export.json holds."""
    names = {part: hub_name + suffix if hub_name else None for part, suffix in SUFFIX.items()}
    on_hub = names["data"] if data else None
    record: dict[str, Any] = {
        "run": run.path.resolve().name,
        "round": run.round,
        "versions": run.run.manifest["versions"],
    }
    if "merged" in model:
        write_merged(run, target / "model")
        text = card.model_card(run, hub_name=names["model"], hub_data=on_hub)
        (target / "model" / "README.md").write_text(text, encoding="utf-8")
    if "adapter" in model:
        check = write_adapter(run, target / "adapter", card.public_base(run))
        text = card.adapter_card(run, check, hub_name=names["adapter"], hub_data=on_hub)
        (target / "adapter" / "README.md").write_text(text, encoding="utf-8")
        record["adapter"] = asdict(check)
    if data:
        selections = run.selections()
        rows = {r: taught(run.answers(r), run.domain, selections) for r in range(1, run.round + 1)}
        record["data"] = write_forms(rows, target / "data", data, root=run.domain.root, images=images)
        text = card.data_card(run, rows, record["data"], images=images)
        (target / "data" / "README.md").write_text(text, encoding="utf-8")
    record["files"] = sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file())
    write_atomically(target / RECORD, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
    return record


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A folder of ours on the disk of `target`, under a name that nobody else's can have, which is removed in the end;
    but for what could not be put back from `old` in it."""
    place = target if target.is_dir() else target.parent
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".seewhy-export-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder / "new", ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()


def _replace(target: Path, unfinished: Path) -> None:
    """Give what `unfinished` holds as `new` its place: as the folder, or in one that is there in place of the export
    that it holds, which goes only once the new one is there. The record, which makes it an export, comes last."""
    new, old = unfinished / "new", unfinished / "old"
    if not target.is_dir():
        new.rename(target)
        return
    moves = [(path, old / path.name) for path in target.iterdir() if path != unfinished]
    moves += [(path, target / path.name) for path in sorted(new.iterdir(), key=lambda path: path.name == RECORD)]
    old.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for path, there in moves:
            path.rename(there)
            moved.append((path, there))
    except BaseException:
        for path, there in reversed(moved):
            there.rename(path)
        old.rmdir()
        raise
    shutil.rmtree(old)
