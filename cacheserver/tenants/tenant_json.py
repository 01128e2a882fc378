"""Tenant settings as JSON, for the store and for the admin API.

Rule: settings are checked whenever they are read, so an invalid one never takes effect, whoever
wrote it. Their types and bounds are those of `core.types.Tenant`; pydantic checks them and names
the field that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Final, get_type_hints

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from cacheserver.cache import controls
from cacheserver.core import json_text, tiers
from cacheserver.core.errors import BadRequest, Unknown, unknown
from cacheserver.core.rules.bounds import SCOPE, STRICT
from cacheserver.core.rules.limits import Limits
from cacheserver.core.rules.verification import VerificationRules
from cacheserver.core.types import Bar, Name, Tenant, TtlRule, VolatilityCaps
from cacheserver.matching.language import VETO_NAMES

_NO_SETTINGS: Final = frozenset({"name", "digest_key"})  # of a tenant's fields


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
        if field not in _NO_SETTINGS
    },
    "bar": TypeAdapter(_Bar),
    "namespace_bars": TypeAdapter(dict[Name, _Bar]),
    "scope_bars": TypeAdapter(dict[Annotated[str, SCOPE], _Bar]),
    "verify": TypeAdapter(Annotated[VerificationRules, BeforeValidator(_verify)]),
}
_UNKNOWN: Final = ("extra_forbidden", "unexpected_keyword_argument")  # of models, of dataclasses
# Settings whose unknown fields are answered with the names of those there are.
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("bar", "namespace_bars", "scope_bars"), frozenset(BarFields.model_fields)),
    "ttl_rules": frozenset(field.name for field in fields(TtlRule)),
    "volatility": frozenset(field.name for field in fields(VolatilityCaps)),
    "verify": frozenset(field.name for field in fields(VerificationRules)),
}


def as_json(tenant: Tenant) -> dict[str, Any]:
    """Return the settings without the name, as `read` takes them."""
    # `asdict` needs dicts, not read-only views.
    bars, narrow = dict(tenant.namespace_bars), dict(tenant.scope_bars)
    shown = asdict(replace(tenant, namespace_bars=bars, scope_bars=narrow))
    for name in _NO_SETTINGS:
        del shown[name]
    for bar in _bars(shown):
        bar["exact_only"] = bar["similarity"] is None and bar["target"] is None
    return shown


def read(name: str, given: Mapping[str, Any], base: Tenant) -> Tenant:
    """Return the settings of tenant `name`: `given` applied over `base`.

    A field that is absent from a lever's rules gets its default, not its previous value. Raises
    `BadRequest` naming the first field that is unknown or invalid.
    """
    controls.name("tenant", name)
    found: dict[str, Any] = {}
    for field, value in given.items():
        if field not in _SETTINGS:
            message = f"is not a tenant setting; there are {', '.join(_SETTINGS)}"
            raise BadRequest(field[:64], message)
        found[field] = _parse(_SETTINGS[field], field, value)
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


def read_bar(field: str, value: object) -> Bar:
    """Read a bar as an operator writes one. Raises `BadRequest` naming a part of `field`."""
    found: Bar = _parse(_SETTINGS["bar"], field, value)
    return found


def limits(field: str, value: object) -> Limits:
    """Parse the limits of a key. Raises `BadRequest` naming the field."""
    found: Limits = _parse(_SETTINGS["limits"], field, value)
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
    written = orjson.loads(record)
    if not isinstance(written, dict):
        raise BadRequest("settings", "must be an object")
    given = {field: value for field, value in written.items() if field in _SETTINGS}
    for bar in _bars(given):
        if isinstance(off := bar.get("vetoes_off"), list):
            gone = [veto for veto in off if isinstance(veto, str) and veto not in VETO_NAMES]
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


def _parse(kind: TypeAdapter[Any], field: str, value: object) -> Any:
    """Parse a setting as strict JSON. Raises `BadRequest` naming the field that is wrong."""
    try:
        return kind.validate_json(to_json(value), strict=True)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
    where = [field, *(str(part) for part in first["loc"] if part != "[key]")]
    if first["type"] in _UNKNOWN and field in _KNOWN:
        raise Unknown(".".join(where[:-1])[:128], "field", where[-1], _KNOWN[field])
    message = first["msg"].removeprefix("Value error, ")
    raise BadRequest(".".join(where)[:128], message[:1].lower() + message[1:])
