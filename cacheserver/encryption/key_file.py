"""Key file beside a backup: the tenants' keys, wrapped as in the store.

One JSON object. A later file reads every earlier backup too, for keys are only added; but those
that were destroyed are not in it. So an older one is deleted where a tenant's keys are to be gone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.encryption import data_keys
from cacheserver.encryption.master_key import MasterKeys

_WHAT: Final = "cacheserver-keys 1"


def beside(backup: Path) -> Path:
    """Return where the keys of a backup are."""
    return backup.with_name(f"{backup.name}.keys")


def write(path: Path, rows: Mapping[str, bytes]) -> None:
    """Write keys, in place of what is there. Raises `SettingsError`."""
    data = orjson.dumps({"what": _WHAT, "keys": {name: row.decode() for name, row in rows.items()}})
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()


def read(path: Path, masters: MasterKeys) -> dict[str, bytes]:
    """The rows of keys, all of which these master keys open. Raises `SettingsError`."""
    try:
        found = orjson.loads(path.read_bytes())
        if found["what"] != _WHAT:
            raise ValueError
        rows = {str(tenant): str(row).encode() for tenant, row in found["keys"].items()}
        for tenant, row in rows.items():
            data_keys.unwrap_row(tenant, row, masters)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}; it holds the tenants' keys, without which "
            "an encrypted backup cannot be: name it with `--keys`"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, StoreError):
        raise SettingsError(f"{path} is no file of keys, or is damaged") from None
    return rows
