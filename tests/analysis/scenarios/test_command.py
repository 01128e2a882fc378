"""`cacheserver simulate` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cacheserver import cli


def test_list_names_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", "--list"]) == 0
    assert "support-chatbot  " in capsys.readouterr().out


def test_a_run_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "run.json"
    asked = ["simulate", "code-review", "--prices", "seeds", "--conversations", "50"]
    assert cli.main([*asked, "--json-file", str(written)]) == 0
    out = capsys.readouterr().out
    whole = json.loads(written.read_text())["whole"]
    assert whole["requests"] == 50
    assert f"without us{whole['spent'] / 1e9:>6,.2f}".split()[0] in out
    assert f"${whole['spent'] / 1e9:,.2f}" in out
    assert f"${whole['left'] / 1e9:,.2f}" in out
    assert "an assumption of this scenario" in out
    assert "requests a second" in out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["simulate"], "name a scenario"),
        (["simulate", "nowhere.toml"], "nowhere.toml"),
        (["simulate", "code-review", "--prices", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_status_2(
    asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(asked) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
