"""The port through which a package adds its commands to the command line, and its exit statuses.

Rules: adding a command imports nothing heavy, for the base install is a client and has none of it;
a command imports what it needs as it runs. What a program may read goes to stdout, everything said
to a person beside it to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Protocol

from cacheserver.core.errors import CacheServerError, CallerError, SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings
    from cacheserver.storage.connection import Connection

# Exit statuses, as grep, ruff and pytest have 0, 1 and 2; docs/command-line.md explains them.
OK: Final = 0
NO: Final = 1  # the command ran, and what it checks is not so: findings, a gate, a fault
WRONG: Final = 2  # options, input, settings or key: again it would fail the same way
FAILED: Final = 3  # the server, the store or Claude failed or is away: again it may succeed
INTERRUPTED: Final = 130  # as shells have it: 128 + SIGINT
UNREAD: Final = 141  # 128 + SIGPIPE: nobody reads the output any more

PRICES_HELP = "a TOML price file (default: CACHESERVER_PRICES)"
_EXAMPLE: Final = "Example:"
_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_PASSING: Final = (408, 409, 429)  # statuses of a refusal that may be gone a moment later


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line that packages add to, and what their commands use."""

    commands: Any  # argparse's subparsers
    configured: argparse.ArgumentParser  # a parent with `--config`
    settings_of: Callable[[argparse.Namespace], Settings]  # those in force for `--config`
    # Records a command that changes the store in its audit trail: store, settings, command.
    record: Callable[[Connection, Settings, str], Awaitable[None]]


class CommandModule(Protocol):
    """A module `command` of a package."""

    def add(self, line: CommandLine) -> None:
        """Add the package's commands; `run` of what is parsed returns the exit status."""


class HelpFormatter(argparse.HelpFormatter):
    """Formats `--help`. An example stays as it is written, to be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLE):
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Parses a command line; what is wrong in a command is said with that command's own usage."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = [str(one) for one in action.choices or ()]
        if near := [] if value in choices else get_close_matches(str(value), choices, n=1):
            raise argparse.ArgumentError(
                action, f"there is no {value!r}; did you mean {near[0]!r}?"
            )
        super()._check_value(action, value)


def add_command(
    commands: Any, name: str, *, help: str, example: str | None = None, **options: Any
) -> argparse.ArgumentParser:
    """Add a command to argparse's subparsers; its own `--help` begins with the same sentence.

    `example`: one or more lines that can be copied into a shell.
    """
    about = f"{help[0].upper()}{help[1:]}."
    shown = None if example is None else "\n  ".join([_EXAMPLE, *example.splitlines()])
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=about,
        epilog=shown,
        formatter_class=HelpFormatter,
        **options,
    )
    return parser


def add_verbs(command: argparse.ArgumentParser) -> Any:
    """Return the subparsers of a command that has commands of its own."""
    return command.add_subparsers(title="commands", required=True, metavar="COMMAND")


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`, which every command has that prints something a program may read."""
    command.add_argument("--json", action="store_true", help="print JSON")


def say(line: str) -> None:
    """Print a line for a person, on stderr: stdout has what a program may read."""
    print(line, file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """Print one JSON document, ASCII alone: what a terminal would obey stays text."""
    print(json.dumps(value, indent=2))


def print_done(args: argparse.Namespace, found: object, sentence: str) -> None:
    """Print what a command did: `found` with `--json`, else a sentence."""
    if args.json:
        print_json(found)
    else:
        print(sentence)


def local_url(host: str, port: int | str) -> str:
    """Return the address of a server on this machine that listens on `host`."""
    host = _ANY_HOST.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def exit_status(error: CacheServerError) -> int:
    """Return the exit status of a command that ended with an error."""
    if isinstance(error, SettingsError | CallerError):
        return WRONG
    status = getattr(error, "status", None)  # of a response to the client
    refused = isinstance(status, int) and 400 <= status < 500 and status not in _PASSING
    return WRONG if refused else FAILED
