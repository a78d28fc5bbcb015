"""Keys: who may call the service. Compared in constant time, and never logged.

Knows nothing about what is served.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from pollice.errors import OptionError

ENVIRONMENT = "POLLICE_KEYS"
"""The environment variable that holds keys, with blanks or commas between them."""
_LEAST = 16


@dataclass(frozen=True)
class Keys:
    """The SHA-256 of every key; none: everyone may call."""

    hashes: tuple[bytes, ...] = ()

    def allow(self, authorization: bytes | None, key: bytes | None) -> bool:
        """Tell whether the headers ``Authorization`` or ``X-API-Key`` hold one of the keys.

        A browser, which asks a person, sends the key as the password of HTTP Basic (RFC 7617).
        """
        if not self.hashes:
            return True
        given = [] if key is None else [key.strip()]
        scheme, _, token = (authorization or b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given.append(token.strip())
        if scheme.lower() == b"basic":
            given.append(_password(token))
        found = False
        for one in given:
            hashed = hashlib.sha256(one).digest()
            for known in self.hashes:
                # Every key is compared: the time tells nothing about which of them came near.
                found |= hmac.compare_digest(hashed, known)
        return found


def read_keys(file: Path | None) -> Keys:
    """Read the keys of a file, one a line, and those of the environment variable.

    Raises:
        OptionError: the file has no key, or a key is too short to be safe.
    """
    named = re.split(r"[\s,]+", os.environ.get(ENVIRONMENT, ""))
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    written = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if file and not written:
        raise OptionError(
            f"Expected one key a line in {file}, but it has none. Write one, such as the output of "
            "`openssl rand -hex 32`."
        )
    keys = [key for key in (*written, *named) if key]
    if any(len(key) < _LEAST for key in keys):
        raise OptionError(
            f"Expected keys of {_LEAST} characters or more, but one has fewer. Take the output of "
            "`openssl rand -hex 32`."
        )
    return Keys(tuple(hashlib.sha256(key.encode()).digest() for key in keys))


def _password(token: bytes) -> bytes:
    """Return the password of HTTP Basic, whatever the name before it; empty: there is none."""
    try:
        return base64.b64decode(token.strip(), validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def check_host(host: str, keys: Keys) -> None:
    """Refuse to listen where others can call, unless they need a key.

    Raises:
        OptionError: the host is not this machine alone, and there is no key.
    """
    if not keys.hashes and not _is_loopback(host):
        raise OptionError(
            f"Expected a key for --host {host}, where other machines can call, but there is none. "
            f"Give --key-file FILE or set {ENVIRONMENT}, or listen on 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
