"""The port through which a package adds its commands to the command line.

Rule: adding a command imports nothing heavy, for the base install is a client and has none of it. A
command imports what it needs as it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings

PRICES_HELP = "a TOML price file (default: CACHESERVER_PRICES)"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line that packages add to, and what their commands use."""

    commands: Any  # argparse's subparsers
    configured: argparse.ArgumentParser  # a parent with `--config`
    settings_of: Callable[[argparse.Namespace], Settings]  # those in force for `--config`


class CommandModule(Protocol):
    """A module `command` of a package."""

    def add(self, line: CommandLine) -> None:
        """Add the package's commands; `run` of what is parsed returns the exit status."""


def add_command(commands: Any, name: str, *, help: str, **options: Any) -> argparse.ArgumentParser:
    """Add a command to argparse's subparsers; its own `--help` begins with the same sentence."""
    about = f"{help[0].upper()}{help[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=about, **options
    )
    return parser


def say(line: str) -> None:
    """Print a line for a person, on stderr: stdout has what a program may read."""
    print(line, file=sys.stderr, flush=True)
