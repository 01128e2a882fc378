"""Version of this package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version of this package; `source` where it is not installed."""
    try:
        return version("cacheserver")
    except PackageNotFoundError:
        return "source"
