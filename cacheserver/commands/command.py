"""All commands that talk to a running server."""

from __future__ import annotations

from typing import Final

from cacheserver.commands import (
    bars,
    calibrate,
    decisions,
    entries,
    index,
    query,
    review,
    stats,
    tenants,
    top,
    transfer,
    warm,
)
from cacheserver.core.command_line import CommandLine, CommandModule

_MODULES: Final[tuple[CommandModule, ...]] = (
    query,
    stats,
    top,
    decisions,
    entries,
    tenants,
    bars,
    index,
    review,
    calibrate,
    warm,
    transfer,
)


def add(line: CommandLine) -> None:
    """Add the commands. Nothing heavy is imported until one runs."""
    for module in _MODULES:
        module.add(line)
