"""Tenant settings as JSON, for the store and for the admin API.

Rule: settings are checked whenever they are read, so an invalid one never takes effect, whoever
wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from cacheserver.cache import controls
from cacheserver.core import json_text, tiers
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.rules.budgets import BudgetRules
from cacheserver.core.rules.caching import CachingRules
from cacheserver.core.rules.history import HistoryRules
from cacheserver.core.rules.lengths import LengthRules
from cacheserver.core.rules.limits import Limits
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.types import Bar, Tenant, TtlRule, VolatilityCaps
from cacheserver.matching.vetoes import VETOES

MAX_TTL_S = 365 * 86_400
MAX_RULES = 100  # each is evaluated for every answer that is stored
MAX_TOP_K = 100

# Rules are plain data with bounds in their types; pydantic parses them and names a bad field.
_LEVERS: dict[str, TypeAdapter[Any]] = {
    "routing": TypeAdapter(RoutingRules),
    "caching": TypeAdapter(CachingRules),
    "batching": TypeAdapter(BatchRules),
    "lengths": TypeAdapter(LengthRules),
    "history": TypeAdapter(HistoryRules),
    "budgets": TypeAdapter(BudgetRules),
    "limits": TypeAdapter(Limits),
}

_SCOPE = re.compile(r"[0-9a-f]{64}")

_NO_SETTINGS = frozenset({"name", "digest_key"})  # of a tenant's fields


def as_json(tenant: Tenant) -> dict[str, Any]:
    """Return the settings without the name, as `read` takes them."""
    shown = asdict(_plain(tenant))
    for name in _NO_SETTINGS:
        del shown[name]
    for bar in (shown["bar"], *shown["namespace_bars"].values(), *shown["scope_bars"].values()):
        bar["exact_only"] = bar["similarity"] is None and bar["target"] is None
    return shown


def read(name: str, given: Mapping[str, Any], base: Tenant) -> Tenant:
    """Return the settings of tenant `name`: `given` applied over `base`.

    Raises `BadRequest` naming the first field that is unknown or invalid.
    """
    controls.name("tenant", name)
    parsers: dict[str, Callable[[str, Any], Any]] = {
        "default_ttl_s": _ttl,
        "max_ttl_s": _ttl,
        "stale_s": _ttl,
        "ttl_rules": _rules,
        "bar": read_bar,
        "namespace_bars": _namespace_bars,
        "scope_bars": _scope_bars,
        "semantic": _flag,
        "match_code": _flag,
        "volatility": _volatility,
        "shadow": _flag,
        "corroborate": _flag,
        "actors": _actors,
        "routing_epoch": _count,
        "no_content": _flag,
        **{lever: partial(_lever, kind) for lever, kind in _LEVERS.items()},
    }
    found: dict[str, Any] = {}
    for field, value in given.items():
        if field not in parsers:
            raise BadRequest(field[:64], f"is not a tenant setting; there are {', '.join(parsers)}")
        found[field] = parsers[field](field, value)
    tenant = replace(base, name=name, **found)
    if tenant.default_ttl_s > tenant.max_ttl_s:
        raise BadRequest("default_ttl_s", "is above `max_ttl_s`")
    if tenant.no_content and tenant.caching.prewarm:
        message = (
            "contains prompts, which a tenant with `no_content` does not store; leave it empty"
        )
        raise BadRequest("caching.prewarm", message)
    tiers.check(tenant.routing)
    return tenant


def limits(field: str, value: object) -> Limits:
    """Parse the limits of a key. Raises `BadRequest` naming the field."""
    found = _lever(_LEVERS["limits"], field, value)
    assert isinstance(found, Limits)
    return found


def encode(tenant: Tenant) -> bytes:
    """Encode settings for the store. Raises `BadRequest` as `read` does."""
    written = as_json(tenant)
    read(tenant.name, written, tenant)
    return json_text.dumps(written)


def decode(
    name: str,
    record: bytes | str,
    base: Tenant,
    forgotten: Callable[[str], object] = lambda _: None,
) -> Tenant:
    """Decode stored settings. Raises `BadRequest` or `ValueError` if they are invalid.

    Fields of another version that this one does not know are ignored, and so are removed vetoes;
    `forgotten` is called with the name of each.
    """
    settings = {field.name for field in fields(Tenant)} - _NO_SETTINGS
    written = _object("settings", orjson.loads(record))
    given = {field: value for field, value in written.items() if field in settings}
    for bar in _bars(given):
        if isinstance(off := bar.get("vetoes_off"), list):
            gone = [veto for veto in off if isinstance(veto, str) and veto not in VETOES]
            bar["vetoes_off"] = [veto for veto in off if veto not in gone]
            for veto in gone:
                forgotten(veto)
    return read(name, given, base)


def _bars(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every bar in raw settings."""
    found = [given.get("bar")]
    for level in ("namespace_bars", "scope_bars"):
        if isinstance(bars := given.get(level), dict):
            found += bars.values()
    return [bar for bar in found if isinstance(bar, dict)]


def _plain(tenant: Tenant) -> Tenant:
    # `asdict` needs dicts, not read-only views.
    return replace(
        tenant,
        namespace_bars=dict(tenant.namespace_bars),
        scope_bars=dict(tenant.scope_bars),
    )


def _rules(field: str, value: object) -> tuple[TtlRule, ...]:
    if not isinstance(value, list | tuple) or len(value) > MAX_RULES:
        raise BadRequest(field, f"must be a list of at most {MAX_RULES} rules")
    return tuple(_rule(f"{field}.{place}", rule) for place, rule in enumerate(value))


def _rule(field: str, value: object) -> TtlRule:
    parsers = {
        "namespace": controls.name,
        "task": controls.name,
        "tag": controls.tag,
        "default_ttl_s": _ttl,
        "max_ttl_s": _ttl,
    }
    found: dict[str, Any] = {}
    for part, given in _object(field, value, set(parsers)).items():
        if given is not None:
            found[part] = parsers[part](f"{field}.{part}", given)
    rule = TtlRule(**found)
    if rule.namespace is None and rule.task is None and rule.tag is None:
        raise BadRequest(field, "must name a namespace, a task or a tag")
    if rule.default_ttl_s is None and rule.max_ttl_s is None:
        raise BadRequest(field, "must set `default_ttl_s` or `max_ttl_s`")
    return rule


def read_bar(field: str, value: object) -> Bar:
    """Read a bar as an operator writes one. Raises `BadRequest` naming a part of `field`."""
    allowed = {"similarity", "target", "exact_only", "top_k", "vetoes_off", "audit_share"}
    given = {k: v for k, v in _object(field, value, allowed).items() if v is not None}
    ways: list[str] = [way for way in ("similarity", "target") if way in given]
    if "exact_only" in given and _flag(f"{field}.exact_only", given["exact_only"]):
        ways.append("exact_only")
    if len(ways) != 1:
        given_ways = f"; {' and '.join(f'`{way}`' for way in ways)} are given" if ways else ""
        raise BadRequest(
            field, f"must have one of `similarity`, `target` and `exact_only`{given_ways}"
        )
    top_k = given.get("top_k", Bar().top_k)
    if not 1 <= _count(f"{field}.top_k", top_k) <= MAX_TOP_K:
        raise BadRequest(f"{field}.top_k", f"must be 1 to {MAX_TOP_K}")
    return Bar(
        similarity=_number(f"{field}.similarity", given.get("similarity"), most=1),
        target=_number(f"{field}.target", given.get("target"), most=0.5),
        top_k=top_k,
        vetoes_off=_vetoes(f"{field}.vetoes_off", given.get("vetoes_off", ())),
        audit_share=_number(f"{field}.audit_share", given.get("audit_share"), most=1, zero=True),
    )


def _number(field: str, value: object, *, most: float, zero: bool = False) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadRequest(field, "must be a number")
    if not (0 < value <= most or (zero and value == 0)):
        raise BadRequest(field, f"must be {'0' if zero else 'above 0'} to {most}")
    return float(value)


def _vetoes(field: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise BadRequest(field, "must be a list of the names of vetoes")
    for name in value:
        if not isinstance(name, str) or name not in VETOES:
            raise Unknown(field, "veto", str(name), VETOES)
    return tuple(dict.fromkeys(value))


def _namespace_bars(field: str, value: object) -> dict[str, Bar]:
    if not isinstance(value, Mapping):
        raise BadRequest(field, "must be an object: namespace to bar")
    for namespace in value:
        controls.name(field, namespace)
    return {name: read_bar(f"{field}.{name}", bar) for name, bar in value.items()}


def _scope_bars(field: str, value: object) -> dict[str, Bar]:
    if not isinstance(value, Mapping):
        raise BadRequest(field, "must be an object: scope to bar")
    return {scope(field, id): read_bar(f"{field}.{id}", bar) for id, bar in value.items()}


def scope(field: str, value: object) -> str:
    """Return a valid scope id. Raises `BadRequest` naming `field`."""
    if not isinstance(value, str) or not _SCOPE.fullmatch(value):
        raise BadRequest(field, "a scope is 64 lower-case hex digits")
    return value


def _volatility(field: str, value: object) -> VolatilityCaps:
    allowed = {part.name for part in fields(VolatilityCaps)}
    given = _object(field, value, allowed)
    caps = {k: None if v is None else _ttl(f"{field}.{k}", v) for k, v in given.items()}
    return VolatilityCaps(**caps)


def _lever(kind: TypeAdapter[Any], field: str, value: object) -> object:
    """Parse one lever's rules. A missing field gets its default, not its previous value."""
    _object(field, value)
    try:
        return kind.validate_json(json_text.dumps(value))
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join([field, *map(str, first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        raise BadRequest(where[:128], message[:1].lower() + message[1:]) from None


def _ttl(field: str, value: object) -> int:
    if (seconds := controls.ttl(field, value)) > MAX_TTL_S:
        raise BadRequest(field, f"must be at most {MAX_TTL_S} seconds, a year")
    return seconds


def _count(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise BadRequest(field, "must be a whole number, 0 or more")
    return value


def _actors(field: str, value: object) -> str:
    if value not in ("named", "key"):
        raise BadRequest(field, "must be `named` or `key`")
    return str(value)


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(field, "must be true or false")
    return value


def _object(field: str, value: object, allowed: set[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRequest(field, "must be an object")
    if allowed is not None and (unknown := set(value) - allowed):
        raise Unknown(field, "field", min(map(str, unknown)), allowed)
    return value
