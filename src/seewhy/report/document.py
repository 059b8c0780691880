"""The page as a document that stands alone: its templates, its own style and script, and the policy that allows these
and nothing else."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def environment() -> Environment:
    """The page's templates; whatever is put into them is escaped."""
    return Environment(
        loader=PackageLoader("seewhy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> Markup:
    """A file of the package's own beside the templates, as it stands."""
    return Markup((files("seewhy.report") / "templates" / name).read_text(encoding="utf-8"))


def policy(style: str, script: str) -> str:
    """The content security policy that allows these two texts, embedded images, and nothing else."""

    def allowed(text: str) -> str:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        return f"'sha256-{digest}'" if text else "'none'"

    sources = f"img-src data:; style-src {allowed(style)}; script-src {allowed(script)}"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
