"""The measurement of a start on many answers, with few of them."""

from __future__ import annotations

from pathlib import Path

from scripts.benchmarks.run import Run
from scripts.benchmarks.scale import restart


def test_a_start_finds_what_was_stored_with_and_without_a_snapshot(tmp_path: Path) -> None:
    run = Run(0.2, (), tmp_path, tmp_path, 0, 0, vectors=(400,), scopes=(3,))
    rows = {row["what"]: row for row in restart.measure(run)}
    for name in (
        "start with 400 answers in 3 scopes, no snapshot",
        "start with 400 answers in 3 scopes",
    ):
        assert 0 < rows[f"{name}: ready"]["value"] <= rows[f"{name}: warm"]["value"]
    assert rows["start with 400 answers in 3 scopes: warm"]["target"] == "<= 60"
    assert rows["  first semantic hit"]["value"] > 0  # NaN if there was none
    assert rows["  first exact hit"]["value"] > 0
    assert rows["  wrong answers"]["value"] == 0
    assert (tmp_path / "restart-400-3" / "index.snapshot").exists()
