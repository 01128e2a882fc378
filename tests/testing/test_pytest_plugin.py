"""The plugin in a suite of somebody else's, run by a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.models import ROOT

PLUGIN = "cacheserver.testing.pytest_plugin"


def run_suite(folder: Path, text: str) -> str:
    (folder / "test_theirs.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "."],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_the_suites_of_the_page_pass(tmp_path: Path) -> None:
    """Each block of docs/testing.md that holds tests is a suite."""
    page = (ROOT / "docs/testing.md").read_text()
    suites = [
        text for text in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "test_" in text
    ]
    assert len(suites) >= 2
    for text in suites:
        said = run_suite(tmp_path, text)
        tests = text.count("def test_")
        assert re.search(rf"^{tests} passed", said, re.M), said


def test_the_environment_is_put_back_and_errors_of_answers_are_shown(tmp_path: Path) -> None:
    said = run_suite(
        tmp_path,
        """
import os
import anthropic

def test_inside(simulated_claude):
    assert str(anthropic.Anthropic().base_url).startswith(simulated_claude.base_url)
    simulated_claude.answer(lambda body: body["nothing"])
    try:
        anthropic.Anthropic().messages.create(
            model="claude-haiku-5-5", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        )
    except anthropic.InternalServerError:
        pass

def test_outside():
    assert "ANTHROPIC_BASE_URL" not in os.environ
""",
    )
    assert "KeyError: 'nothing'" in said
    assert "2 passed, 1 error" in said


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        f"import sys, {PLUGIN}; print(sorted(sys.modules.keys() & "
        "{'starlette', 'uvicorn', 'orjson', 'asyncio', 'anthropic', 'httpx2', 'fastapi'}))"
    )
    bare = "import pytest, sys; print(sorted(sys.modules.keys() & {'asyncio'}))"
    loaded, before = (
        subprocess.run(
            [sys.executable, "-c", one],
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for one in (code, bare)
    )
    assert loaded == before
