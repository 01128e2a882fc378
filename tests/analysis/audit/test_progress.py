"""What is said while an audit runs."""

from __future__ import annotations

import io
import json

from cacheserver.core.terminal.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_line_for_each_work_that_is_written_over() -> None:
    to = Terminal()
    progress = Progress(to=to)
    progress.read(50, 100)
    progress.read(100, 100)
    progress.replayed(3, 3)
    progress.end()
    assert "reading: [##########..........]  50% of 0.0 MB" in to.getvalue()
    assert "reading: [####################] 100% of 0.0 MB" in to.getvalue()
    assert "replaying: [####################] 3 of 3 requests" in to.getvalue()
    assert to.getvalue().count("\n") == 2


def test_a_file_has_lines_and_off_is_off() -> None:
    to, off = io.StringIO(), io.StringIO()
    for progress in (Progress(to=to), Progress(on=False, to=off)):
        progress.read(1, 100)
        progress.read(2, 100)  # too soon after the first
        progress.read(100, 100)
        progress.end()
    assert to.getvalue().splitlines() == ["reading:   1% of 0.0 MB", "reading: 100% of 0.0 MB"]
    assert off.getvalue() == ""


def test_how_long_it_will_take_is_told_once_that_can_be_known() -> None:
    to = Terminal()
    progress = Progress(to=to)
    progress.replayed(1, 200)
    progress._began["replaying"] -= 10.0
    progress._next = 0.0
    progress.replayed(100, 200)
    assert "10 s left" in to.getvalue()


def test_a_program_reads_objects() -> None:
    to = Terminal()
    progress = Progress(on=False, to=to, as_json=True)
    progress.read(1, 100)
    progress.read(2, 100)  # too soon
    progress.replayed(7, 7)
    progress.end()
    found = [json.loads(line) for line in to.getvalue().splitlines()]
    assert [(one["phase"], one["done"], one["whole"]) for one in found] == [
        ("reading", 1, 100),
        ("replaying", 7, 7),
    ]
    assert all(one["seconds"] >= 0 for one in found)
