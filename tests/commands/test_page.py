"""docs/command-line.md says what the command line has; completion and help are complete."""

from __future__ import annotations

import argparse
import re
import subprocess

import pytest

from cacheserver.cli import _parser, main
from tests.models import ROOT

PAGE = (ROOT / "docs/command-line.md").read_text()


def commands(
    parser: argparse.ArgumentParser, above: str = ""
) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return every command that runs something by its words, with its help."""
    found: dict[str, tuple[str, argparse.ArgumentParser]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for name, sub in action.choices.items():
                below = commands(sub, f"{above}{name} ")
                found |= below or {f"{above}{name}": (helps[name], sub)}
    return found


COMMANDS = commands(_parser())


def test_the_page_lists_every_command_with_its_help() -> None:
    rows = dict(re.findall(r"^\| `([a-z][a-z -]+)` \| (.*?) \|", PAGE, re.M))
    assert rows == {name: text for name, (text, _) in COMMANDS.items()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_help_that_fits_a_line(name: str) -> None:
    text, parser = COMMANDS[name]
    assert 0 < len(text) <= 80
    if name != "simulate-claude":  # it has a parser of its own
        assert parser.description is not None
        assert f"cacheserver {name.split()[0]}" in (parser.epilog or ""), "an example"
        for action in parser._actions:
            assert action.help, f"{name} {action.dest}"


# What they print is no result: a log until they are ended, and a script for a shell.
WITHOUT_JSON = {"serve", "simulate-claude", "completion"}


def test_every_command_prints_json_where_a_program_reads_it() -> None:
    without = {name for name, (_, one) in COMMANDS.items() if not accepts(one, "--json")}
    assert without == WITHOUT_JSON


def test_a_tenant_is_named_the_same_way_by_every_command() -> None:
    """`--tenant NAME`; but `tenant show NAME`, whose object it is."""
    for name, (_, parser) in COMMANDS.items():
        for action in parser._actions:
            about = f"{action.dest} {action.metavar}".lower()
            if "tenant" in about and action.option_strings != ["--one-tenant"]:
                assert (action.option_strings, action.metavar) == (["--tenant"], "NAME"), name


def test_settings_are_named_to_every_command_that_reads_them() -> None:
    for name in ("backup", "restore", "repair", "audit", "doctor", "key list", "estimate"):
        assert accepts(COMMANDS[name][1], "--config"), name


def accepts(parser: argparse.ArgumentParser, option: str) -> bool:
    return option in parser._option_string_actions


def test_no_command_takes_a_key_as_an_argument() -> None:
    for name, (_, parser) in COMMANDS.items():
        options = {option for action in parser._actions for option in action.option_strings}
        assert not options & {"--key", "--admin-key", "--api-key", "--token", "--password"}, name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_every_command(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name in COMMANDS:
        assert name.split()[-1] in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_exit_statuses_of_the_page_are_those_of_the_code() -> None:
    from cacheserver.core import command_line

    rows = re.findall(r"^\| (\d+) \|", PAGE, re.M)
    names = ("OK", "NO", "WRONG", "FAILED", "INTERRUPTED", "UNREAD")
    assert [int(row) for row in rows] == [getattr(command_line, name) for name in names]
