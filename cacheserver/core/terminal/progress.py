"""Progress of long work: a bar on a terminal, otherwise an occasional line; JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Final, Self, TextIO

_WIDTH: Final = 79
_BAR: Final = 20
_EVERY_S: Final = (0.2, 10.0)  # on a terminal, and elsewhere
_JSON_EVERY_S: Final = 1.0


class Progress:
    """Writes to a stream; nothing where it is switched off. `as_json`: an object on each line.

    `only_terminal`: nothing is written where it would be no bar.
    """

    def __init__(
        self,
        *,
        on: bool = True,
        to: TextIO | None = None,
        as_json: bool = False,
        only_terminal: bool = False,
    ) -> None:
        self._as_json = as_json
        self._to = sys.stderr if to is None else to
        self._terminal = self._to.isatty() and not as_json
        self._on = as_json or (on and (self._terminal or not only_terminal))
        self._next = 0.0
        self._began: dict[str, float] = {}
        self._doing: str | None = None  # whose bar is on the terminal's line

    def read(self, done: int, whole: int) -> None:
        """Show the bytes read."""
        share = done / whole if whole else 1.0
        self._show("reading", f"{share:4.0%} of {whole / 1e6:,.1f} MB", done, whole)

    def replayed(self, done: int, whole: int) -> None:
        """Show the requests replayed."""
        self.count("replaying", "requests", done, whole)

    def count(self, doing: str, unit: str, done: int, whole: int | None) -> None:
        """Show how many of something are done, their rate and the time left.

        `whole`: how many there are; None: that is not known.
        """
        if not self._on:
            return
        rate = done / max(0.001, time.monotonic() - self._begun(doing))
        of = "" if whole is None else f" of {whole:,}"
        self._show(doing, f"{done:,}{of} {unit}, {rate:,.0f} a second", done, whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the line that the bar is on, if there is one."""
        if self._doing is not None:
            print(file=self._to)
        self._doing = None

    def _show(self, doing: str, text: str, done: int, whole: int | None) -> None:
        share = 0.0 if whole is None else done / whole if whole else 1.0
        now = time.monotonic()
        began = self._begun(doing)
        if not self._on or (now < self._next and share < 1):
            return
        if self._terminal and doing != self._doing:
            self.end()  # the bar of what was done before stays above
            self._doing = doing
        if self._as_json:
            self._next = now + _JSON_EVERY_S
            found = {
                "phase": doing,
                "done": done,
                "whole": whole,
                "seconds": max(0.0, round(now - began, 3)),
            }
            print(json.dumps(found), file=self._to, flush=True)
            return
        self._next = now + _EVERY_S[0 if self._terminal else 1]
        bar = ""
        if self._terminal and whole is not None:
            full = int(min(1.0, share) * _BAR)
            bar = f"[{'#' * full:.<{_BAR}}] "
        line = f"{doing}: {bar}{text}"
        if 0 < share < 1 and now - began >= 1:
            line += f", {_span((now - began) * (1 - share) / share)} left"
        if self._terminal:
            print(f"\r{line:<{_WIDTH}}", end="", file=self._to, flush=True)
        else:
            print(line, file=self._to, flush=True)

    def _begun(self, doing: str) -> float:
        return self._began.setdefault(doing, time.monotonic())


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
