"""Cipher of one data key.

mark (4 bytes), id of the data key (8), nonce (12), AES-256-GCM and tag
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cacheserver.encryption.data_keys import ID_BYTES
from cacheserver.encryption.master_key import NONCE_BYTES
from cacheserver.storage.sealer import MARK, Unsealed

ID_END: Final = len(MARK) + ID_BYTES
_SEALED_AT: Final = ID_END + NONCE_BYTES
_TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = _SEALED_AT + _TAG_BYTES


class DataKeyCipher:
    """Cipher of one data key. `about` is authenticated with a value but not stored in it."""

    def __init__(self, id: bytes, key: bytes) -> None:
        self._head = MARK + id
        self._cipher = AESGCM(key)

    def seal(self, about: str, plain: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return self._head + nonce + self._cipher.encrypt(nonce, plain, self._with(about))

    def open(self, about: str, value: bytes) -> bytes:
        """Decrypt a value that `seal` encrypted. Raises `Unsealed`."""
        if len(value) < OVERHEAD_BYTES:
            raise Unsealed("torn")
        nonce, sealed = value[ID_END:_SEALED_AT], value[_SEALED_AT:]
        try:
            return self._cipher.decrypt(nonce, sealed, self._with(about))
        except InvalidTag:
            raise Unsealed("changed") from None

    def _with(self, about: str) -> bytes:
        return self._head + about.encode()
