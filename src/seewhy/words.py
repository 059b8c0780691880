"""Words of others (labels, file names, answers, servers) before they are shown or written: plain, and without secrets.

Every error's text, message and table goes through `shown`. Settings that are recorded go through `masked`.
"""

import json
import os
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

MASK = "***"
_NAME = r"(?:api|access|auth|secret)[-_]?key|token|password|passwd|secret"
_VALUE = r"(?![-.{]|none\b)[^\s'\",;&|)\]}]+"
_PATTERNS = (
    (re.compile(r"(?<=://)[^/?#\s'\"]+@"), f"{MASK}@"),  # https://user:pass@host
    (re.compile(rf"(?i)(--[\w-]*(?:{_NAME})(?:\s*=\s*|\s+)')[^']+(?=')"), rf"\1{MASK}"),  # --api-key 'X'
    (re.compile(rf'(?i)(--[\w-]*(?:{_NAME})(?:\s*=\s*|\s+)")[^"]+(?=")'), rf"\1{MASK}"),
    (re.compile(rf"(?i)(--[\w-]*(?:{_NAME})(?:\s*[=:]\s*|\s+)\[?['\"]?){_VALUE}"), rf"\1{MASK}"),  # --api-key X
    (
        re.compile(rf"(?i)(?<![-\w])((?:\w*[-_])?(?:{_NAME})(?:['\"]?\s?=|['\"]:)\s*\[?['\"]?){_VALUE}"),
        rf"\1{MASK}",
    ),  # api_key=X
    (re.compile(rf"(?i)(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic)\s+){_VALUE}"), rf"\1{MASK}"),
    (
        re.compile(
            r"\b(?:sk-(?=[\w-]*\d)[\w-]{12,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})(?![\w/])"
        ),
        MASK,
    ),
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
            given = found.group()[len(found.group(1)) if pattern.groups else 0 :].rstrip("@")
            for secret in {given, unquote(given)}:
                sent = b64encode(secret.encode("utf-8", "surrogateescape")).decode()  # as Authorization: Basic has it
                for part in (secret, *secret.split(":", 1)[1:], sent):
                    remember_secret(part)


def masked(value: Any) -> Any:
    """Return a text, or a JSON-able value with its texts, with *** in place of each secret: a user and password in an
    address, a key after --api-key and the like, and what the environment holds as a key, token or password."""
    return _changed(value, _masked)


def without_known(value: Any) -> Any:
    """Return a model's text, or a JSON-able value with its texts, with *** in place of each secret that is known, which
    a server may repeat. What only looks like a secret stays: it may be what the model says of an image."""
    return _changed(value, _without_known)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed(inner, change) for key, inner in value.items()}
    return type(value)(_changed(inner, change) for inner in value) if isinstance(value, list | tuple) else value


def _without_known(text: str) -> str:
    held = {value.strip() for name, value in os.environ.items() if _HOLDS_SECRET.search(name)}
    held = {secret for secret in held if len(secret) >= SHORTEST}
    for secret in sorted(held | _known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _masked(text: str) -> str:
    text = _without_known(text)
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


def shown_json(value: Any) -> str:
    """Return a JSON-able value as JSON that may be printed: secrets masked, and control characters written as their
    escapes."""
    text = json.dumps(masked(value), indent=2, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
