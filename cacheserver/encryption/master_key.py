"""Master key of the operator, read from a file or a command. It wraps the tenants' keys.

Rule: a master key encrypts nothing but keys, and is never in the environment, the store or a log.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import secrets
import shlex
import stat
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:  # 6 MB that a server without encryption does without
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32  # AES-256
NONCE_BYTES: Final = 12  # as GCM has it (NIST SP 800-38D)
_COMMAND_S: Final = 30.0  # a key service in another region answers in a second or two
_MOST_CHARS: Final = 4_096  # longer output is not a key but a log or an error page
_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_HOW: Final = "it must hold 32 bytes as hex or base64 (`openssl rand -hex 32` makes one)"


class WrongMaster(ValueError):
    """Raised for a key wrapped by another master key, or altered since."""


@dataclass(frozen=True)
class MasterKey:
    """Master key. `id` identifies it and reveals nothing about it."""

    key: bytes = field(repr=False)

    @cached_property
    def id(self) -> str:
        return hmac.digest(self.key, b"cacheserver master key", "sha256")[:8].hex()

    def wrap(self, about: str, plain: bytes) -> bytes:
        """Encrypt a key. `about` names its purpose; `unwrap` needs the same text."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, about.encode())

    def unwrap(self, about: str, wrapped: bytes) -> bytes:
        """Decrypt a key that `wrap` encrypted. Raises `WrongMaster`."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], about.encode()
            )
        except (InvalidTag, ValueError):
            raise WrongMaster from None

    @cached_property
    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self.key)


@dataclass(frozen=True)
class MasterKeys:
    """Current master key, and the previous one during a rotation."""

    current: MasterKey
    old: MasterKey | None = None

    def by_id(self, id: str) -> MasterKey | None:
        keys = (self.current, self.old)
        return next((one for one in keys if one is not None and one.id == id), None)


def from_file(path: Path, *, setting: str) -> MasterKey:
    """Read the key in a file. Raises `SettingsError` with the setting, never the content."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST_CHARS)
    except OSError as error:
        raise SettingsError(f"`{setting}`: {path} cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise SettingsError(f"`{setting}`: everybody may read {path}; `chmod 600` it")
    return _parsed(text, f"`{setting}`: {path}")


def from_command(command: str, *, setting: str) -> MasterKey:
    """Read the key that a command prints, without a shell. Raises `SettingsError`."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise SettingsError(f"`{setting}`: it is not a command")
    try:
        done = subprocess.run(  # the operator's own
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may repeat the key
            timeout=_COMMAND_S,
            check=False,
        )
    except OSError as error:
        raise SettingsError(f"`{setting}`: {words[0]}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise SettingsError(f"`{setting}`: {words[0]} took over {_COMMAND_S:.0f} s") from None
    if done.returncode:
        raise SettingsError(f"`{setting}`: {words[0]} ended with status {done.returncode}")
    return _parsed(done.stdout[:_MOST_CHARS], f"`{setting}`: what {words[0]} printed")


def _parsed(text: bytes, what: str) -> MasterKey:
    try:
        encoded = text.decode("ascii").strip()
        if _HEX.fullmatch(encoded):
            return MasterKey(bytes.fromhex(encoded))
        key = base64.b64decode(encoded, validate=True)
    except (UnicodeDecodeError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{what} is not a key: {_HOW}")
    return MasterKey(key)
