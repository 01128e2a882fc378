"""The command line: starts the server and runs the commands of the packages.

Rule: what goes wrong is one line on stderr, and one of the exit statuses of `core.command_line`.
What a script may want to read goes to stdout, everything said to a person beside it to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cacheserver
from cacheserver.analysis.audit import command as audit_command
from cacheserver.analysis.evaluation import command as evaluate_command
from cacheserver.analysis.scenarios import command as workload_command
from cacheserver.backup import command as backup_command
from cacheserver.commands import command as remote_commands
from cacheserver.core.command_line import (
    INTERRUPTED,
    OK,
    UNREAD,
    WRONG,
    CommandLine,
    CommandModule,
    HelpFormatter,
    Parser,
    add_command,
    add_json,
    exit_status,
    print_json,
    say,
)
from cacheserver.core.errors import CacheServerError, SettingsError
from cacheserver.core.features import Feature
from cacheserver.doctor import command as doctor_command
from cacheserver.embedded import command as embedded_command
from cacheserver.encryption import command as encryption_command
from cacheserver.lint import command as lint_command
from cacheserver.pricing import command as estimate_command
from cacheserver.tenants import command as key_command
from cacheserver.verification import command as verify_command

if TYPE_CHECKING:  # the base install, a client, has none of what these need
    from cacheserver.config.settings import Settings
    from cacheserver.storage.connection import Connection

SETTINGS_PAGE = """# Settings

Each setting is an environment variable, or a key in a TOML file. The key is the variable's name in
lower case without `CACHESERVER_`. The file is named by `--config FILE` or `CACHESERVER_CONFIG`. No
file is read just because it is in the working directory, because the file sets the host that
receives the key for Claude. A variable overrides the file; one that is set to nothing counts as
not set, but for `CACHESERVER_EMBEDDER_PREFIX`. A misspelt name is refused with the nearest existing
name. `cacheserver settings` shows the settings in force.

This page is made by `cacheserver settings --markdown`.

"""

# The commands of each package, in the order of `--help`, with the feature that switches them off.
COMMANDS: tuple[tuple[CommandModule, Feature | None], ...] = (
    (remote_commands, None),  # the server says what it has switched off
    (doctor_command, None),
    (lint_command, "lint"),
    (estimate_command, None),
    (audit_command, "analysis"),
    (workload_command, "analysis"),
    (evaluate_command, "analysis"),
    (verify_command, "verification"),
    (backup_command, None),
    (embedded_command, None),
    (encryption_command, None),
    (key_command, None),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    args: argparse.Namespace | None = None
    try:
        if given[:1] == ["simulate-claude"]:  # it has options of its own, and its own --help
            from cacheserver import simulated

            return simulated.main(given[1:], announce=say)
        args = _parser().parse_args(given)
        _refuse_switched_off(args)
        run: Callable[[argparse.Namespace], int] = args.run
        status = run(args)
        sys.stdout.flush()  # here, where it can still be told that nobody reads it
        return status
    except CacheServerError as error:
        say(f"cacheserver: {error}")
        return exit_status(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "cacheserver":
            raise
        say(f"cacheserver: {error.name} is not installed; install cacheserver's extra `server`")
        return WRONG
    except KeyboardInterrupt:
        if (after := getattr(args, "interrupted", None)) is not None:
            say(f"\ncacheserver: interrupted; {after}")
        elif sys.stderr.isatty():
            say("")  # the shell's prompt begins a line
        return INTERRUPTED
    except BrokenPipeError:
        # `| head` has read enough; what Python flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


class _Version(argparse.Action):
    """`--version`. The version is read when it is asked for: that takes a while."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"cacheserver {cacheserver.__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="cacheserver",
        description="A semantic response cache for Claude.",
        epilog="Settings are CACHESERVER_* environment variables, or lines of the TOML file that "
        "--config names. `cacheserver settings` prints them. Exit status: 0 done; 1 a check says "
        "no; 2 wrong options, input or key; 3 the server, store or Claude failed.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    configured = argparse.ArgumentParser(add_help=False)
    configured.add_argument(
        "--config", type=Path, metavar="FILE", help="read settings from this TOML file"
    )

    serve = add_command(
        commands,
        "serve",
        help="run the server",
        example="cacheserver serve --port 9000\n"
        "CACHESERVER_UPSTREAM=simulated cacheserver serve    # without a key for Claude",
        parents=[configured],
    )
    serve.add_argument("--host", help="address to listen on (default: CACHESERVER_HOST)")
    serve.add_argument(
        "--port", metavar="N", help="port to listen on; 0: a free one (default: CACHESERVER_PORT)"
    )
    serve.add_argument(
        "--workers", metavar="N", help="server processes (default: CACHESERVER_WORKERS)"
    )
    serve.set_defaults(run=_serve)

    settings = add_command(
        commands,
        "settings",
        help="print the settings in force, without secrets",
        example="cacheserver settings --json",
        parents=[configured],
    )
    settings.add_argument(
        "--markdown",
        action="store_true",
        help="describe every setting instead, as in docs/settings.md",
    )
    add_json(settings)
    settings.set_defaults(run=_settings)

    add_command(
        commands, "simulate-claude", help="run a simulated Claude, without a key", add_help=False
    )

    completion = add_command(
        commands,
        "completion",
        help="print the completion script of a shell",
        example="cacheserver completion bash > ~/.local/share/bash-completion/completions/"
        "cacheserver\ncacheserver completion zsh > ~/.zfunc/_cacheserver\n"
        "cacheserver completion fish > ~/.config/fish/completions/cacheserver.fish",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    completion.set_defaults(run=lambda args: _completion(parser, args.shell))

    line = CommandLine(commands, configured, _settings_of, _record)
    for module, feature in COMMANDS:
        before = set(commands.choices)
        module.add(line)
        for name in commands.choices.keys() - before:
            commands.choices[name].set_defaults(feature=feature)
    return parser


async def _record(redis: Connection, settings: Settings, command: str) -> None:
    from cacheserver.tenants.audit_trail import AuditTrail, by_command

    await AuditTrail(redis, prefix=settings.redis_prefix).add(by_command(command))


def _refuse_switched_off(args: argparse.Namespace) -> None:
    """Raise `SettingsError` if the command's feature is off."""
    feature = getattr(args, "feature", None)
    if feature is None:
        return
    from cacheserver.config import settings as config

    if feature in config.load_features_off(file=getattr(args, "config", None)):
        raise SettingsError(f"`{feature}` is switched off; `CACHESERVER_FEATURES_OFF` names it")


def _serve(args: argparse.Namespace) -> int:
    # Starting makes no garbage to speak of, and looking for it takes a sixth of the CPU of a start.
    # `app.run` collects again.
    gc.disable()
    from cacheserver import serving
    from cacheserver.observability import logs
    from cacheserver.workers.event_loop import loop_factory

    settings = _settings_of(args)
    logs.install(settings.log_level, settings.log_format)
    # Where lines are read by a program, ours are no exception.
    announce = logging.getLogger("cacheserver").info if settings.log_format == "json" else say
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serving.serve(settings, announce=announce))
    return OK


def _settings(args: argparse.Namespace) -> int:
    from cacheserver.config import settings as config

    if args.markdown:
        print(SETTINGS_PAGE + config.settings_table(), end="")
        return OK
    shown = config.shown(_settings_of(args))
    if args.json:
        print_json(shown)
        return OK
    for variable, value in shown.items():
        print(f"{variable}={value}")
    return OK


def _completion(parser: argparse.ArgumentParser, shell: str) -> int:
    import shtab

    print(shtab.complete(parser, shell))
    return OK


def _settings_of(args: argparse.Namespace) -> Settings:
    """The settings in force for a command; says so where a file is there that is not read."""
    from cacheserver.config import settings as config

    if (text := config.hint(file=args.config)) is not None:
        say(text)
    # `serve` has options for what differs between two servers on one machine.
    given = {
        f"CACHESERVER_{name.upper()}": value
        for name in ("host", "port", "workers")
        if (value := getattr(args, name, None)) is not None
    }
    return config.load({**os.environ, **given}, file=args.config)


if __name__ == "__main__":
    sys.exit(main())
