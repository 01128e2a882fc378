"""The list of kinds of keys: all that the stores write is in it, and the page shows it."""

from __future__ import annotations

import re

import pytest

from cacheserver.erasure.key_kinds import REGISTRY, Kind
from cacheserver.erasure.walk import KeyWalk
from tests.models import ROOT

SOURCES = ROOT / "cacheserver"

# How keys are spelled in our sources: by Lua, by an f-string, and by helpers that take the kind.
_SPELLED = (
    re.compile(r"\bP \.\. '([a-z:]+)"),
    re.compile(r"prefix\}([a-z][a-z:]*)"),
    re.compile(r'"[A-Z]+", "(bt:[a-z]+)'),
    re.compile(r'self\._(?:key|of)\("([a-z]+)"'),
    re.compile(r'f"(l[a-z]:)\{'),
)


def spelled() -> set[tuple[str, str]]:
    """The beginnings of keys in the stores' sources, with the file each is in."""
    return {
        (f"{path.parent.name}/{path.name}", found)
        for path in sorted(SOURCES.rglob("*.py"))
        for pattern in _SPELLED
        for found in pattern.findall(path.read_text())
        if path.name not in ("key_kinds.py", "key_copy.py")
    }


def begins(start: str) -> bool:
    """Whether a kind's keys begin so, as far as the source tells."""
    part = start.removesuffix(":")
    return any(
        kind.key == part or kind.literal in (start, f"{part}:") or kind.literal == f"cv{part}:"
        for kind in REGISTRY.kinds
    )


def test_every_key_that_a_store_spells_is_of_a_kind_that_is_listed() -> None:
    found = spelled()
    assert len(found) > 100
    assert {(name, start) for name, start in found if not begins(start)} <= _PARTS


def test_every_kind_is_spelled_in_the_package_that_writes_it() -> None:
    sources = {
        package: "".join(path.read_text() for path in (SOURCES / package).rglob("*.py"))
        for package in {kind.package for kind in REGISTRY.kinds}
    }
    for kind in REGISTRY.kinds:
        word = kind.literal.rstrip(":").removeprefix("cv")
        assert re.search(rf"\b{re.escape(word)}\b", sources[kind.package]), kind.name


# What the patterns find that is no whole kind of a key.
_PARTS = {("erasure/scripts.py", "bt:"), ("promptcache/prompt_log.py", "g:n:")}


# Erased with what they belong to: turns and jobs. An erasure first folds what was recorded.
_WITH = {
    "decisions_recorded",
    "turn_sizes",
    "job_items",
    "job_results",
    "job_asks",
    "job_erasures",
    "job_lists",
    "job_queue",
    "job_ends",
    "asks",
    "ask_waiters",
    "ask_pool",
    "ask_deadlines",
    "webhooks",
}


def test_every_record_has_a_step_or_goes_with_one_that_has() -> None:
    source = (SOURCES / "erasure/walk.py").read_text()
    for kind in REGISTRY.kinds:
        if kind.how == "record":
            stepped = f'"{kind.name}": self._erase' in source
            assert stepped != (kind.name in _WITH), kind.name
    assert KeyWalk.__doc__


@pytest.mark.parametrize("kind", REGISTRY.kinds, ids=lambda kind: kind.name)
def test_a_key_is_found_with_its_parts(kind: Kind) -> None:
    given: dict[str, str] = {}

    def part(found: re.Match[str]) -> str:
        name = found[1] or "T"
        given[name] = "a:cme" if name == "T" else f"x{len(given)}"
        return f"5:{given[name]}" if name == "T" else given[name]

    key = re.sub(r"T|<(\w+)>", part, kind.key)
    assert REGISTRY.find(key) == (kind, given)


def test_a_key_of_no_kind_is_none() -> None:
    for key in ("", "nobodys", "d:9:acme:dec_1", "d:acme", "evidence:4:acme:x", "lr:"):
        found = REGISTRY.find(key)
        assert found is None or key == "lr:", key


def test_the_page_shows_the_list() -> None:
    page = (ROOT / "docs/erasure.md").read_text().partition("## Everything that is kept")[2]
    for kind in REGISTRY.kinds:
        row = f"| `{kind.key}` | {kind.holds} | {kind.life} | {kind.how} |"
        assert row in page, row
    assert page.count("\n| `") == len(REGISTRY.kinds)
