"""`scripts/bench`: the gate on instructions, and the page's table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmarks import instructions, table
from scripts.benchmarks.index import nearest_rows
from scripts.benchmarks.processes.load import Server
from scripts.benchmarks.rows import at_most, row, skipped
from scripts.benchmarks.workers import wait_until_quiet
from tests.models import ROOT


@pytest.mark.parametrize(
    ("ratio", "passes", "says"),
    [
        (2.0, True, "accepts 2.0."),
        (2.19, True, "accepts 2.0."),
        (2.21, False, "Find the cause"),
        (1.8, True, "can be lowered"),
    ],
)
def test_a_tenth_more_instructions_than_the_page_accepts_fail(
    ratio: float, passes: bool, says: str
) -> None:
    passed, sentence = instructions.judged(2.0, ratio)
    assert passed is passes
    assert says in sentence


def test_the_page_accepts_a_ratio_of_instructions() -> None:
    assert instructions.accepted((ROOT / "docs/performance.md").read_text()) > 0


def test_a_new_ratio_of_instructions_is_written_into_the_line() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    assert instructions.accepted(instructions.with_accepted(page, 7.654)) == 7.65


def test_the_table_replaces_what_stood_between_the_comments(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    rows = [
        at_most("met", 1.25, 3, "B"),
        row("  its detail", 4.0, "ms"),
        at_most("missed", 4_321.0, 3),
        skipped("absent", "no pip"),
    ]
    table.write(page, {"machine": "a machine", "part": rows})
    assert page.read_text().splitlines() == [
        "before",
        "<!-- figures -->",
        "Measured on: a machine.",
        "",
        "| what | value | target | |",
        "|---|---:|---:|---|",
        "| **part** | | | |",
        "| met | 1.25 B | <= 3 | met |",
        "| missed | 4,321 | <= 3 | **missed** |",
        "| absent | skipped: no pip |  |  |",
        "<!-- end of figures -->",
        "after",
    ]
    page.write_text("no place for it")
    with pytest.raises(ValueError, match="end of figures"):
        table.write(page, {"machine": "a machine"})


def test_a_server_that_pauses_before_its_work_is_not_quiet() -> None:
    work = """
import sys, time
time.sleep(0.3)
while time.process_time() < 1: pass
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE) as process:
        of = Server("", process.pid)
        wait_until_quiet(of, 0.8)
        assert sum(of.cpu_s()) >= 0.98  # counted in steps of 10 ms
        process.terminate()


@pytest.mark.parametrize("scopes", [1, 3])
def test_recall_is_against_the_nearest_row_of_the_whole_scope(scopes: int) -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((31_000, 8)).astype(np.float32)  # of a scope, more than one read
    picked = np.array([0, 7, 20_005, 30_999])
    asked = rng.standard_normal((len(picked), 8)).astype(np.float32)
    found = nearest_rows(rows, scopes, picked, asked)
    for number, question, row_number in zip(picked, asked, found, strict=True):
        cosines = rows.astype(np.float16).astype(np.float32) @ question
        cosines[np.arange(len(rows)) % scopes != number % scopes] = -np.inf
        assert row_number == cosines.argmax()
