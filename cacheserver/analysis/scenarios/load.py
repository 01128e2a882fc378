"""Parser of scenario files. Raises `SettingsError` with the line and the key at fault."""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from cacheserver.analysis.scenarios.scenario import Scenario
from cacheserver.analysis.scenarios.toml_lines import line_of
from cacheserver.core import json_text
from cacheserver.core.errors import SettingsError

_SCENARIO: TypeAdapter[Scenario] = TypeAdapter(Scenario)
_PLAIN = {  # by pydantic's type of error, which speaks of arguments
    "missing": "is missing",
    "missing_argument": "is missing",
    "unexpected_keyword_argument": "is not a key of a scenario",
    "dataclass_type": "must be a table",
}


def load(text: str, source: str = "the scenario") -> Scenario:
    """Return the scenario of a TOML text."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is not TOML: {error}") from error
    try:
        scenario = _SCENARIO.validate_json(json_text.dumps(given))
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        message = _PLAIN.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        found = [(_path(first["loc"]), message[:1].lower() + message[1:])]
    else:
        found = list(_contradictions(scenario))
    for path, message in found[:1]:
        raise SettingsError(f"{source}: line {line_of(text, path)}: `{path}` {message}") from None
    return scenario


def _path(location: Iterable[int | str]) -> str:
    """Spell a location as `kinds[1].repeats.exact`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _contradictions(scenario: Scenario) -> Iterable[tuple[str, str]]:
    """Yield what is wrong between fields, each with the path of its key."""
    names = Counter(kind.name for kind in scenario.kinds)
    yield from _shares("kinds", [kind.share for kind in scenario.kinds])
    for place, kind in enumerate(scenario.kinds):
        yield from _shares(f"kinds[{place}].model", kind.model.values())
        if names[kind.name] > 1 and any(one.name == kind.name for one in scenario.kinds[:place]):
            yield f"kinds[{place}].name", "is another kind's too"


def _shares(path: str, shares: Iterable[float]) -> Iterable[tuple[str, str]]:
    total = math.fsum(shares)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        yield path, f"has shares that sum to {total:g}, and must to 1"
