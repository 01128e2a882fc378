"""`cacheserver doctor`: what keeps a server from working, and what to fix first."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from cacheserver.core.command_line import (
    NO,
    OK,
    CommandLine,
    add_command,
    add_json,
    local_url,
    print_json,
    say,
)
from cacheserver.core.errors import CacheServerError
from cacheserver.core.terminal import output
from cacheserver.doctor import machine, network, parts
from cacheserver.doctor.check import Check, Status, failed, first_to_fix, ok, skipped

_MARKS: Final[dict[Status, str]] = {"ok": "ok", "skipped": "-", "warning": "WARN", "failed": "FAIL"}


def add(line: CommandLine) -> None:
    """Add the command. Nothing heavy is imported until it runs."""
    command = add_command(
        line.commands,
        "doctor",
        help="check the installation, and say what to fix first",
        example="cacheserver doctor\ncacheserver doctor --offline --json",
        parents=[line.configured],
    )
    command.add_argument("--offline", action="store_true", help="do not ask Claude")
    add_json(command)
    command.set_defaults(run=lambda args: _run(args, line), interrupted="nothing was changed")


def _run(args: argparse.Namespace, line: CommandLine) -> int:
    """Print the checks. Return `NO` if one failed."""
    checks = []
    for check in _checks(args, line):
        checks.append(check)
        if not args.json:
            found = output.one_line(check.found)
            print(f"{_MARKS[check.status]:<5} {check.name:<18} {found}", flush=True)
            if check.do is not None:
                print(f"{'':<24} -> {output.one_line(check.do)}")
    first = first_to_fix(checks)
    broken = any(check.status == "failed" for check in checks)
    if args.json:
        print_json(
            {
                "status": "failed" if broken else "ok",
                "fix_first": None if first is None else first.name,
                "checks": [asdict(check) for check in checks],
            }
        )
    elif first is None:
        say("Nothing to fix.")
    else:
        say(f"\nFix first: {first.name}: {first.do}")
    return NO if broken else OK


def _checks(args: argparse.Namespace, line: CommandLine) -> Iterator[Check]:
    """Yield the checks in the order of their needs, each as soon as it is known."""
    yield (installed := machine.check_installation())
    if installed.status == "failed":
        yield skipped("settings", "the packages that read them are not installed")
        if importlib.util.find_spec("httpx2") is not None:
            yield from _of_client()
        return
    try:
        settings = line.settings_of(args)
    except CacheServerError as error:
        yield failed("settings", str(error), "correct it; docs/settings.md describes each")
        return
    from cacheserver.config import settings as config

    where = "the environment" if args.config is None else f"the environment and {args.config}"
    yield ok("settings", f"read from {where}")
    if settings.workers > 1:
        yield machine.check_workers(settings.workers)
    yield machine.check_data_dir(settings.data_dir)
    yield from asyncio.run(parts.check_store(settings))
    yield asyncio.run(parts.check_model(settings))
    try:
        admin_key = config.admin_key(settings)
    except CacheServerError as error:
        yield failed("admin key", str(error), "correct the file")
        admin_key = None
    running = network.check_server(local_url(settings.host, settings.port), admin_key)
    yield from running or [machine.check_port(settings.host, settings.port)]
    if args.offline:
        yield skipped("upstream", "--offline")
    else:
        yield from network.check_upstream(settings)


def _of_client() -> list[Check]:
    """Return the checks of the server that a client's environment names."""
    url = os.environ.get("CACHESERVER_URL")
    if not url:
        return [skipped("server", "`CACHESERVER_URL` is not set")]
    found = network.check_server(url.rstrip("/"), os.environ.get("CACHESERVER_ADMIN_KEY") or None)
    return found or [failed("server", f"{url}: nothing listens there", "start it")]
