"""Parser of scenario files. Raises `SettingsError` with the line and the key at fault."""

from __future__ import annotations

import math
import tomllib
from datetime import UTC, date, datetime
from typing import cast

from cacheserver.analysis.replay.step import LEVERS
from cacheserver.analysis.scenarios.fields import Fields, Wrong, line_of
from cacheserver.analysis.scenarios.scenario import (
    PATTERNS,
    TIERS,
    Arrivals,
    Assumption,
    Kind,
    Length,
    Pattern,
    Repeats,
    Scenario,
    Shared,
    Similarities,
    Spread,
)
from cacheserver.core.errors import SettingsError

_MOST_TOKENS = 1_000_000  # as many as any model reads


def load(text: str, source: str = "the scenario") -> Scenario:
    """Return the scenario of a TOML text."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is not TOML: {error}") from error
    try:
        return _scenario(Fields(given))
    except Wrong as wrong:
        line = line_of(text, wrong.path)
        raise SettingsError(f"{source}: line {line}: `{wrong.path}` {wrong}") from None


def _scenario(fields: Fields) -> Scenario:
    day = fields.take("start", date(2026, 11, 2))
    if not isinstance(day, date) or isinstance(day, datetime):
        raise Wrong("start", "must be a day such as 2026-11-02, unquoted")
    levers = fields.texts("levers", list(LEVERS))
    for lever in levers:
        if lever not in LEVERS:
            raise Wrong("levers", f"must be of {', '.join(LEVERS)}")
    made = Scenario(
        name=fields.text("name"),
        about=fields.text("about"),
        seed=fields.whole("seed"),
        conversations=fields.whole("conversations", least=1),
        days=fields.number("days", least=0.01, most=3_660),
        start=datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp(),
        kinds=tuple(_kind(one) for one in fields.tables("kinds")),
        assumptions=tuple(_assumption(one) for one in fields.tables("assumptions", [])),
        lifetime_s=fields.whole("lifetime_s", 86_400, most=2_592_000),
        levers=frozenset(levers),
        similarities=_similarities(fields.table("similarities")),
    )
    fields.done()
    if not made.kinds:
        raise Wrong("kinds", "must name a kind of request")
    _whole([kind.share for kind in made.kinds], "kinds")
    names = [kind.name for kind in made.kinds]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise Wrong(f"kinds[{place}].name", "is another kind's too")
    return made


def _kind(fields: Fields) -> Kind:
    made = Kind(
        name=fields.text("name"),
        share=fields.number("share", most=1),
        models=_models(fields, "model"),
        questions=fields.texts("questions"),
        output=_length(fields, "output"),
        question=_length(fields, "question"),
        system=_shared(fields.table("system")),
        tools=_shared(fields.table("tools")),
        document=_length(fields, "document") if fields.has("document") else None,
        turns=fields.whole("turns", 1, least=1, most=1_000),
        pause_s=fields.number("pause_s", 30),
        repeats=_repeats(fields.table("repeats")),
        arrivals=_arrivals(fields.table("arrivals")),
        waits=fields.flag("waits", False),
    )
    fields.done()
    if ":" in made.name:
        raise Wrong(fields.at("name"), "must have no colon")
    if not made.questions:
        raise Wrong(fields.at("questions"), "must hold a question")
    if any(one.count("{}") != 1 for one in made.questions):
        raise Wrong(fields.at("questions"), "must have one `{}` each: where they differ")
    if made.repeats.turns > made.turns:
        raise Wrong(fields.at("repeats.turns"), "must be no more than `turns`")
    return made


def _models(fields: Fields, key: str) -> dict[str, float]:
    given = fields.take(key)
    if isinstance(given, str):
        given = {given: 1.0}
    shares = Fields(given, fields.at(key))
    made = {name: shares.number(name, most=1) for name in given}
    for name in made:
        if name not in TIERS and not name.startswith("claude-"):
            raise Wrong(fields.at(key), f"must be of {', '.join(TIERS)}, or ids of Claude's")
    _whole(list(made.values()), fields.at(key))
    return made


def _length(fields: Fields, key: str) -> Length:
    given = fields.take(key)
    if isinstance(given, int) and not isinstance(given, bool):
        given = {"median": given, "p95": given}
    inner = Fields(given, fields.at(key))
    median = inner.number("median", least=1, most=_MOST_TOKENS)
    p95 = inner.number("p95", least=1, most=_MOST_TOKENS)
    inner.done()
    if p95 < median:
        raise Wrong(fields.at(f"{key}.p95"), "must be no less than `median`")
    return Length(median, p95)


def _shared(fields: Fields) -> Shared:
    tokens = fields.whole("tokens", 0, most=_MOST_TOKENS)
    made = Shared(tokens, fields.whole("different", 1, least=1))
    fields.done()
    return made


def _repeats(fields: Fields) -> Repeats:
    made = Repeats(
        exact=fields.number("exact", 0, most=1),
        reworded=fields.number("reworded", 0, most=1),
        distinct=fields.whole("distinct", 100, least=1, most=1_000_000),
        zipf=fields.number("zipf", 1, most=10),
        turns=fields.whole("turns", 1, least=1),
    )
    fields.done()
    if made.exact + made.reworded > 1:
        raise Wrong(fields.at("exact"), "and `reworded` must be no more than 1 together")
    return made


def _arrivals(fields: Fields) -> Arrivals:
    made = Arrivals(
        pattern=cast(Pattern, fields.choice("pattern", PATTERNS, "poisson")),
        hour=fields.number("hour", 2, most=23.99),
        spread_s=fields.number("spread_s", 1_800, least=1, most=86_400),
    )
    fields.done()
    return made


def _similarities(fields: Fields) -> Similarities:
    plain = Similarities()
    made = Similarities(
        bar=fields.number("bar", plain.bar, least=-1, most=1),
        reworded=_spread(fields, "reworded", plain.reworded),
        others=_spread(fields, "others", plain.others),
    )
    fields.done()
    return made


def _spread(fields: Fields, key: str, plain: Spread) -> Spread:
    inner = Fields(fields.take(key, {"mean": plain.mean, "sd": plain.sd}), fields.at(key))
    made = Spread(inner.number("mean", least=-1, most=1), inner.number("sd", most=1))
    inner.done()
    return made


def _assumption(fields: Fields) -> Assumption:
    made = Assumption(fields.text("what"), fields.text("value"), fields.text("source"))
    fields.done()
    return made


def _whole(shares: list[float], path: str) -> None:
    total = math.fsum(shares)
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise Wrong(path, f"has shares that sum to {total:g}, and must to 1")
