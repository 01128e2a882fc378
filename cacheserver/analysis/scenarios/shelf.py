"""Scenarios and price tables that ship with the package, by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from cacheserver.analysis.scenarios import load
from cacheserver.analysis.scenarios.scenario import Scenario
from cacheserver.core.errors import SettingsError
from cacheserver.core.rules.routing import Tiers
from cacheserver.pricing.price_table import PriceTable, load_overrides

_DATA = resources.files("cacheserver.analysis.scenarios") / "data"
SEEDS_TIERS = Tiers(low="claude-haiku-4-5", middle="claude-sonnet-4-6", high="claude-opus-4-7")


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a run, and the models behind its tiers."""

    label: str
    tiers: Tiers
    table: PriceTable | None = None  # None: those of today


def names() -> list[str]:
    """Return the names of the shipped scenarios."""
    found = (one.name.removesuffix(".toml") for one in (_DATA / "scenarios").iterdir())
    return sorted(found)


def scenario(name: str) -> Scenario:
    """Return a shipped scenario by name, or the scenario of a file. Raises `SettingsError`."""
    if name in names():
        return load.load((_DATA / "scenarios" / f"{name}.toml").read_text(), name)
    return load.load(_read(name), name)


def prices(name: str) -> Prices:
    """Return prices: `seeds`, `today`, or a file over today's. Raises `SettingsError`."""
    if name == "today":
        return Prices("today's prices", Tiers())
    if name == "seeds":
        table = load_overrides((_DATA / "prices-seeds.toml").read_text())
        return Prices("the `seeds` prices", SEEDS_TIERS, table)
    return Prices(name, Tiers(), load_overrides(_read(name)))


def _read(name: str) -> str:
    try:
        return Path(name).read_text()
    except OSError as error:
        there = ", ".join(names())
        raise SettingsError(f"`{name}`: {error.strerror or error}; shipped are {there}") from error
