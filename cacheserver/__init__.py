"""A semantic response cache for Claude. Importing this file imports nothing heavy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cacheserver.client import AsyncClient as AsyncClient
    from cacheserver.client import Client as Client
    from cacheserver.client import wrap as wrap
    from cacheserver.config.settings import Settings as Settings
    from cacheserver.in_process import open_cache as open_cache
    from cacheserver.in_process import open_cache_sync as open_cache_sync

    __version__: str

_LAZY = {
    "AsyncClient": "cacheserver.client",
    "Client": "cacheserver.client",
    "Settings": "cacheserver.config.settings",
    "open_cache": "cacheserver.in_process",
    "open_cache_sync": "cacheserver.in_process",
    "wrap": "cacheserver.client",
}

__all__ = [
    "AsyncClient",
    "Client",
    "Settings",
    "__version__",
    "open_cache",
    "open_cache_sync",
    "wrap",
]


def __getattr__(name: str) -> Any:
    """Import a name of the front door when it is first asked for."""
    if name == "__version__":
        return import_module("importlib.metadata").version("cacheserver")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "cacheserver":
            raise
        message = f"`{name}` needs {error.name}, which is not installed"
        message += ": install cacheserver's extra `server`"
        raise ModuleNotFoundError(message, name=error.name) from error
