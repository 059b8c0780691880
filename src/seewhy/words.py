"""Words of others (labels, file names, answers, servers) before they are shown or written: plain, and without secrets.

Every error's text, message and table goes through `shown`. Settings that are recorded go through `masked`.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_NAME = r"(?:api|access|auth|secret)[-_]?key|token|password|passwd|secret"
_VALUE = r"(?![-.{]|none\b)[^\s'\",;&|)\]}]+"
_PATTERNS = (
    (re.compile(r"(?<=://)[^/?#\s'\"@]+@"), f"{MASK}@"),  # https://user:pass@host
    (re.compile(rf"(?i)(--[\w-]*(?:{_NAME})(?:\s*[=:]\s*|\s+)\[?['\"]?){_VALUE}"), rf"\1{MASK}"),  # --api-key X
    (
        re.compile(rf"(?i)(?<![-\w])((?:\w*[-_])?(?:{_NAME})(?:['\"]?\s?=|['\"]:)\s*\[?['\"]?){_VALUE}"),
        rf"\1{MASK}",
    ),  # api_key=X
    (re.compile(rf"(?i)\b((?:bearer|basic)\s+)(?=[\w.~+/-]{{8}}){_VALUE}"), rf"\1{MASK}"),
    (re.compile(r"\b(?:sk-|hf_|gh[pousr]_|github_pat_)[A-Za-z0-9_-]{8,}"), MASK),
)
_HOLDS_SECRET = re.compile(r"(?i)(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)$")
SHORTEST = 8
"""Characters from which on a value is masked wherever it stands. A shorter one may be a word of others: only where
a flag, an address or a name shows it as a secret is it masked."""
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys in place of showing it (escape sequences, line ends, direction), and halves of characters."""
_known: set[str] = set()


def remember_secret(text: str) -> None:
    """Mask this text from now on, wherever it comes back; for keys that no pattern shows, such as one from a variable
    of the user's own naming."""
    if len(text) >= SHORTEST:
        _known.add(text)


def remember_secrets_of(command: str) -> None:
    """Remember the secrets that a command or an address holds, since the program it starts may repeat them bare."""
    for pattern, _ in _PATTERNS:
        for found in pattern.finditer(command):
            secret = found.group()[len(found.group(1)) if pattern.groups else 0 :].rstrip("@")
            for part in (secret, *secret.split(":", 1)[1:]):
                remember_secret(part)


def masked(value: Any) -> Any:
    """Return a text, or a JSON-able value with its texts, with *** in place of each secret: a user and password in an
    address, a key after --api-key and the like, and what the environment holds as a key, token or password."""
    if isinstance(value, str):
        return _masked(value)
    if isinstance(value, Mapping):
        return {key: masked(inner) for key, inner in value.items()}
    return type(value)(map(masked, value)) if isinstance(value, list | tuple) else value


def _masked(text: str) -> str:
    held = {value.strip() for name, value in os.environ.items() if _HOLDS_SECRET.search(name)}
    held = {secret for secret in held if len(secret) >= SHORTEST}
    for secret in sorted(held | _known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern, mask in _PATTERNS:
        text = pattern.sub(mask, text)
    return text


def plain(text: str) -> str:
    """Return a text without control characters (but line feed and tab), so that a terminal shows it and obeys nothing
    in it."""
    return _UNSEEN.sub("", text.replace("\r\n", "\n"))


def shown(text: str) -> str:
    """Return a text as it may be shown to a user: plain and masked."""
    return _masked(plain(text))


def shown_json(text: str) -> str:
    """Return JSON that may be printed: secrets masked, and control characters written as their escapes."""
    return _masked(_UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text))
