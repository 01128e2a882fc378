"""Tenant settings as JSON, for the store and for the admin API.

Rule: what is stored is what a tenant sets itself; the rest is the server's defaults, whatever they
are then. Settings are checked whenever they are read, so an invalid one never takes effect, whoever
wrote it. Their types and bounds are those of `core.types.Tenant`; pydantic checks them and names
the field that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, Final, get_type_hints

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json

from cacheserver.cache import controls
from cacheserver.core import json_text, tiers
from cacheserver.core.errors import BadRequest, Unknown, unknown
from cacheserver.core.rules.bounds import SCOPE, STRICT
from cacheserver.core.rules.limits import Limits
from cacheserver.core.rules.verification import VerificationRules
from cacheserver.core.types import MOST_TTL_S, Bar, Name, Tenant, TtlRule, VolatilityCaps
from cacheserver.matching.language import VETO_NAMES
from cacheserver.tenants.setting_tree import ROOT, difference, merge

_NAMES: Final[frozenset[str]] = frozenset(ROOT.fields or ())


def _vetoes(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in VETO_NAMES:
            raise ValueError(unknown("veto", name, VETO_NAMES))
    return tuple(dict.fromkeys(names))


class BarFields(BaseModel, **STRICT):
    """A bar as an operator writes one; null and absent are the same."""

    similarity: Annotated[float, Field(gt=0, le=1)] | None = None
    target: Annotated[float, Field(gt=0, le=0.5)] | None = None
    exact_only: bool | None = None
    top_k: Annotated[int, Field(ge=1, le=100)] | None = None
    vetoes_off: Annotated[tuple[str, ...], AfterValidator(_vetoes)] | None = None
    audit_share: Annotated[float, Field(ge=0, le=1)] | None = None

    def bar(self) -> Bar:
        """Return the bar. Raises `ValueError` unless it is given in exactly one way."""
        given = self.model_dump(exclude_none=True)
        ways = [way for way in ("similarity", "target", "exact_only") if given.get(way)]
        if len(ways) != 1:
            shown = f"; {' and '.join(f'`{way}`' for way in ways)} are given" if ways else ""
            raise ValueError(f"must have one of `similarity`, `target` and `exact_only`{shown}")
        given.pop("exact_only", None)
        return Bar(**given)


def _verify(given: object) -> object:
    return {"mode": given} if isinstance(given, str) else given


_Bar = Annotated[BarFields, AfterValidator(BarFields.bar)]
_SETTINGS: Final[dict[str, TypeAdapter[Any]]] = {
    **{
        field: TypeAdapter(kind)
        for field, kind in get_type_hints(Tenant, include_extras=True).items()
        if field in _NAMES
    },
    "bar": TypeAdapter(_Bar),
    "namespace_bars": TypeAdapter(dict[Name, _Bar]),
    "scope_bars": TypeAdapter(dict[Annotated[str, SCOPE], _Bar]),
    "verify": TypeAdapter(Annotated[VerificationRules, BeforeValidator(_verify)]),
}
_MOST_WRONG: Final = 20  # parts of one setting that an error names
_UNKNOWN: Final = ("extra_forbidden", "unexpected_keyword_argument")  # of models, of dataclasses
# Settings whose unknown fields are answered with the names of those there are.
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("bar", "namespace_bars", "scope_bars"), frozenset(BarFields.model_fields)),
    "ttl_rules": frozenset(field.name for field in fields(TtlRule)),
    "volatility": frozenset(field.name for field in fields(VolatilityCaps)),
    "verify": frozenset(field.name for field in fields(VerificationRules)),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a tenant: those in force, and what it sets itself."""

    tenant: Tenant
    own: Mapping[str, Any]  # differences from the server's defaults, as JSON
    # Of `own`, what contradicts a default that has changed since, by field: what holds instead.
    conflicts: Mapping[str, str]


def as_json(tenant: Tenant, names: Collection[str] = _NAMES) -> dict[str, Any]:
    """Return all settings of a tenant, or those in `names`, without the tenant's name."""
    shown = {name: _plain(getattr(tenant, name)) for name in _SETTINGS if name in names}
    for bar in _bars(shown):
        bar["exact_only"] = bar["similarity"] is None and bar["target"] is None
    return shown


def _plain(value: Any) -> Any:
    """Return a setting as JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def change(
    name: str, own: Mapping[str, Any], given: Mapping[str, Any], defaults: Tenant
) -> Settings:
    """Return the settings of tenant `name`, which sets `own`, changed by `given`.

    Raises `BadRequest` naming the first field that is unknown or invalid, or that contradicts
    another one as a result of this change.
    """
    controls.name("tenant", name)
    after = _settings(name, merge(own, given), defaults)
    if after.conflicts and after.conflicts != _settings(name, own, defaults).conflicts:
        field, message = next(iter(after.conflicts.items()))
        raise BadRequest(field, message)
    return after


def changes(before: Tenant, after: Tenant) -> dict[str, Any]:
    """Return what `change` needs to make `before` into `after`."""
    found: dict[str, Any] = difference(as_json(before), _capped(as_json(after)))
    return found


def _settings(name: str, own: Mapping[str, Any], defaults: Tenant) -> Settings:
    """Return the settings in force. Raises `BadRequest` naming all that are invalid."""
    found, wrong = dict[str, Any](), list[BadRequest]()
    for field, value in merge(as_json(defaults, own), own).items():
        try:
            found[field] = _parse(_SETTINGS[field], field, value)
        except BadRequest as error:
            wrong.append(error)
    if wrong:
        raise BadRequest.of(wrong)
    tenant = replace(defaults, name=name, **found)
    if tenant.no_content and tenant.caching.prewarm:
        message = (
            "contains prompts, which a tenant with `no_content` does not store; leave it empty"
        )
        raise BadRequest("caching.prewarm", message)
    tiers.check(tenant.routing)
    conflicts: dict[str, str] = {}
    if tenant.default_ttl_s > tenant.max_ttl_s:  # no answer lives longer than either allows
        conflicts["default_ttl_s"] = (
            f"is above `max_ttl_s`: {tenant.default_ttl_s} > {tenant.max_ttl_s}"
        )
        tenant = replace(tenant, default_ttl_s=tenant.max_ttl_s)
    return Settings(tenant, own, conflicts)


def read_bar(field: str, value: object) -> Bar:
    """Read a bar as an operator writes one. Raises `BadRequest` naming a part of `field`."""
    found: Bar = _parse(_SETTINGS["bar"], field, value)
    return found


def limits(field: str, value: object) -> Limits:
    """Parse the limits of a key. Raises `BadRequest` naming the field."""
    found: Limits = _parse(_SETTINGS["limits"], field, value)
    return found


def encode(own: Mapping[str, Any]) -> bytes:
    """Encode what a tenant sets itself for the store."""
    return json_text.dumps(own)


def decode(
    name: str,
    record: bytes | str,
    defaults: Tenant,
    forgotten: Callable[[str], object] = lambda _: None,
) -> Settings:
    """Decode stored settings. Raises `BadRequest` or `ValueError` if they are invalid.

    Earlier versions stored all settings: those are the tenant's own. Fields of another version that
    this one does not know are ignored, and so are removed vetoes; `forgotten` is called with the
    name of each.
    """
    written = orjson.loads(record)
    if not isinstance(written, dict):
        raise BadRequest("settings", "must be an object")
    given = {field: value for field, value in written.items() if field in _NAMES}
    for bar in _bars(given):
        if isinstance(off := bar.get("vetoes_off"), list):
            gone = [veto for veto in off if isinstance(veto, str) and veto not in VETO_NAMES]
            bar["vetoes_off"] = [veto for veto in off if veto not in gone]
            for veto in gone:
                forgotten(veto)
    controls.name("tenant", name)
    return _settings(name, merge({}, _capped(given)), defaults)


def _capped(given: dict[str, Any]) -> dict[str, Any]:
    """Return settings whose `volatility` has the longest lifetime there is where it had no cap.

    It is the same, and null is the default's.
    """
    caps = given.get("volatility")
    if isinstance(caps, dict) and None in caps.values():
        caps = {name: MOST_TTL_S if cap is None else cap for name, cap in caps.items()}
        return {**given, "volatility": caps}
    return given


def _bars(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every bar in raw settings."""
    found = [given.get("bar")]
    for level in ("namespace_bars", "scope_bars"):
        if isinstance(bars := given.get(level), dict):
            found += bars.values()
    return [bar for bar in found if isinstance(bar, dict)]


def _parse(kind: TypeAdapter[Any], field: str, value: object) -> Any:
    """Parse a setting as strict JSON. Raises `BadRequest` naming the parts that are wrong."""
    try:
        return kind.validate_json(to_json(value), strict=True)
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False, include_context=False)
    raise BadRequest.of([_refused(field, one) for one in errors[:_MOST_WRONG]])


def _refused(field: str, error: ErrorDetails) -> BadRequest:
    """Return the error of a part of a setting in our words."""
    where = [field, *(str(part) for part in error["loc"] if part != "[key]")]
    if error["type"] in _UNKNOWN and field in _KNOWN:
        return Unknown(".".join(where[:-1])[:128], "field", where[-1], _KNOWN[field])
    message = error["msg"].removeprefix("Value error, ")
    return BadRequest(".".join(where)[:128], message[:1].lower() + message[1:])
