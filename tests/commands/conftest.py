"""The command line against a real server, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

import pytest

from cacheserver.cli import main
from tests.house import ADMIN_KEY, House


@dataclass(frozen=True)
class Done:
    """The result of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands with the address of a house and an admin key in the environment."""

    def __init__(self, environ: pytest.MonkeyPatch) -> None:
        self._environ = environ

    def point(self, house: House, *, admin: bool = True, key: str | None = None) -> None:
        self._environ.setenv("CACHESERVER_URL", house.url)
        for name, value in (
            ("CACHESERVER_ADMIN_KEY", ADMIN_KEY if admin else None),
            ("CACHESERVER_API_KEY", key),
        ):
            if value is None:
                self._environ.delenv(name, raising=False)
            else:
                self._environ.setenv(name, value)

    async def __call__(self, *words: str, typed: str = "", terminal: bool = False) -> Done:
        """Run a command; `typed` is its standard input, `terminal` says that it is one."""
        return await asyncio.to_thread(self._run, words, typed, terminal)

    def _run(self, words: tuple[str, ...], typed: str, terminal: bool) -> Done:
        given = Typed(typed, terminal)
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
            self._environ.context() as patch,
        ):
            patch.setattr("sys.stdin", given)
            try:
                status = main(words)
            except SystemExit as ended:  # of argparse
                status = int(ended.code or 0)
        return Done(status, out.getvalue(), err.getvalue())


class Typed(io.StringIO):
    """Standard input."""

    def __init__(self, text: str, terminal: bool) -> None:
        super().__init__(text)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def shell(house: House, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("CACHESERVER_CONFIG", raising=False)
    shell = Shell(monkeypatch)
    shell.point(house)
    return shell
