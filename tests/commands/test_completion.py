"""Completion in real shells: bash always, fish and zsh where they are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cacheserver.cli import main

CASES = (
    ("cacheserver back", ["backup"]),
    ("cacheserver key cr", ["create"]),
    ("cacheserver bar set --dry", ["--dry-run"]),
    ("cacheserver index move --to v", ["vector-sets"]),
    ("cacheserver completion z", ["zsh"]),
)


@pytest.fixture
def script(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Path:
    """The script of a shell; skips where the shell is not installed."""
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    path = tmp_path / "_cacheserver"  # where zsh looks for it
    path.write_text(capsys.readouterr().out)
    return path


def said(shell: str, *words: str, folder: Path) -> list[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb"}
    done = subprocess.run(
        [shell, *words], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_completes(script: Path, line: str, expected: list[str]) -> None:
    words = line.split(" ")
    asked = f"""
        source {shlex.quote(str(script))}
        COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        _shtab_cacheserver
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert said("bash", "--norc", "-c", asked, folder=script.parent) == expected


@pytest.mark.parametrize("script", ["fish"], indirect=True)
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish_completes(script: Path, line: str, expected: list[str]) -> None:
    asked = f"source {shlex.quote(str(script))}; complete -C {shlex.quote(line)}"
    found = said("fish", "--no-config", "-c", asked, folder=script.parent)
    assert [one.partition("\t")[0] for one in found] == expected


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
@pytest.mark.parametrize(("line", "expected"), CASES)
def test_zsh_completes(script: Path, line: str, expected: list[str]) -> None:
    """A shell in a terminal of zsh's own types the line and Tab, then prints what it became."""
    (word,) = expected
    whole = " ".join([*line.split(" ")[1:-1], word])
    asked = f"""
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell 'fpath=({script.parent} $fpath); autoload -Uz compinit; compinit -D -u'
        zpty -w shell 'cacheserver() {{ print -r -- "<"done $*">" }}'
        zpty -w -n shell {shlex.quote(line)}$'\\t\\n'
        zpty -r -m shell found '*<done *>*'
        print -r -- "${{${{found##*<}}%%>*}}"
    """
    assert said("zsh", "-f", "-c", asked, folder=script.parent) == [f"done {whole}"]
