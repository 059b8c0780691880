"""An export on the Hugging Face Hub. What is on disk stays, whatever the Hub says."""

from pathlib import Path

from httpx import HTTPError
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from seewhy.errors import SeeWhyError
from seewhy.progress import say

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

    The token is that of `hf auth login` or HF_TOKEN. Raises SeeWhyError where the Hub cannot be reached or refuses.
    """
    api, places = HfApi(), []
    for part, folder in parts.items():
        repository, kind = name + SUFFIX[part], "dataset" if part == "data" else "model"
        try:
            say(f"uploading {folder} as {repository}")
            created = api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
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


def _why(error: Exception) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids it."
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (401, 403) or isinstance(error, LocalTokenNotFoundError):
        return "it did not accept the token. Log in with `hf auth login` or set HF_TOKEN to one that may write there."
    first = (str(error) or type(error).__name__).splitlines()[0]
    return f"{first.rstrip('.')}."
