"""Settings that may be changed while servers run. Pure.

Rule: the environment stays the base. A change is a difference from it, checked as the environment
is; one that another version wrote and this one does not take is left out, never fatal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from cacheserver.config.settings import Settings
from cacheserver.config.sources import variable
from cacheserver.core.errors import BadRequest, Unknown


def _extra(name: str) -> Mapping[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


LIVE: Final = tuple(name for name in Settings.model_fields if _extra(name).get("live"))

_BARS: Final = ("similarity", "target")  # either decides a bar

# A value of these is a place or an address that may hold a password.
_MASKED: Final = frozenset(
    {"redis_url", "index_redis_url", "encryption_key_command", "encryption_old_key_command"}
)


def check_names(names: Iterable[str]) -> None:
    """Raise `BadRequest` for the first that is not live."""
    for name in names:
        if name not in LIVE:
            raise _not_live(name)


def changed(base: Settings, own: Mapping[str, Any], *, asked: Collection[str] = ()) -> Settings:
    """Return `base` with the values of `own`. Raises `BadRequest` naming the fields that are wrong.

    Where several contradict each other, one of `asked` is named. A target takes the place of the
    environment's similarity: a bar is decided in one way.
    """
    check_names(own)
    if wrong_types := [
        BadRequest(name, "must be a number or a text")
        for name, value in own.items()
        if isinstance(value, bool) or not isinstance(value, int | float | str)
    ]:
        raise BadRequest.of(wrong_types)
    given = {name: getattr(base, name) for name in base.model_fields_set}
    if "target" in own:
        given.pop("similarity", None)
    try:
        found = Settings(**{**given, **own})
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False, include_context=False)
    else:
        _check_least(found, own)
        return found
    raise BadRequest.of([_refused(error, asked) for error in errors])


def _refused(error: ErrorDetails, asked: Collection[str]) -> BadRequest:
    """Return the error of a setting in our words."""
    message = str(error["msg"]).removeprefix("Value error, ")
    blamed = [name for name in asked if f"`{variable(name)}`" in message]  # by a rule on several
    named = str(error["loc"][0]) if error["loc"] else next(iter((*blamed, *asked)), "settings")
    return BadRequest(named, message[:1].lower() + message[1:])


def readable(base: Settings, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `own` that hold here: all, or as many as hold together.

    A value may hold only with another, such as a longer default TTL with a longer maximum. So those
    that were left out are tried again after each that was added.
    """
    if _holds(base, own):
        return dict(own)
    found: dict[str, Any] = {}
    left = {name: value for name, value in own.items() if name in LIVE}
    while added := next((n for n, v in left.items() if _holds(base, found | {n: v})), None):
        found[added] = left.pop(added)
    return found


def merged(base: Settings, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored after a change of `before`; null returns a value to the environment.

    What does not hold here stays stored, for the version that reads it. A target takes the place of
    a similarity that was changed before, and the other way round. Raises `BadRequest` naming the
    field, also if not all of the change would be in force, or more than it.
    """
    check_names(given)
    set_now = {name for name, value in given.items() if value is not None}
    if set_now >= set(_BARS):
        raise BadRequest("similarity", "and `target`: set one; a bar is decided in one way")
    dropped = {other for name, other in (_BARS, _BARS[::-1]) if name in set_now}
    kept = {name: value for name, value in before.items() if name not in dropped}
    asked = _without_nulls(readable(base, kept) | given)
    changed(base, asked, asked=given)
    after = _without_nulls(kept | given)
    in_force = readable(base, after)
    if in_force != asked:
        name = min(in_force.keys() ^ asked.keys())
        raise BadRequest(
            name, "is stored and not in force; it would be after this change: change it too"
        )
    return after


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _holds(base: Settings, own: Mapping[str, Any]) -> bool:
    try:
        changed(base, own)
    except BadRequest:
        return False
    return True


def _check_least(found: Settings, own: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for a value that only the environment may have."""
    for name in own:
        least, value = _extra(name).get("live_least"), getattr(found, name)
        if least is not None and value is not None and value < least:
            raise BadRequest(name, f"must be at least {least} here; less needs `{variable(name)}`")


def need_prices(settings: Settings) -> dict[str, str]:
    """Return the models that must have a price, by the setting that needs it."""
    found = {}
    if settings.verify_usd_per_day:
        found["verify_usd_per_day"] = settings.verify_model
    if settings.compare_with is not None:
        found["compare_with"] = settings.compare_with
    return found


def described(base: Settings, now: Settings, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every setting as JSON: value in force, default, origin, and whether it is live.

    `base_value` is what null returns to. Of a secret only whether it is set is told.
    """
    return [
        {
            "name": name,
            "variable": variable(name),
            "value": _shown(name, getattr(now, name)),
            "base_value": _shown(name, getattr(base, name)),
            "default": _extra(name).get("shown") or _shown(name, about.default),
            "origin": "admin" if name in own else base.origin(name),
            "live": name in LIVE,
            "live_least": _extra(name).get("live_least"),
            "help": about.description,
            "why": _extra(name).get("why"),
            "choices": _choices(about.annotation),
        }
        for name, about in Settings.model_fields.items()
    ]


def _not_live(name: str) -> BadRequest:
    if name not in Settings.model_fields:
        return Unknown(name[:64], "setting", name, LIVE)
    return BadRequest(name, f"is read at the start; set `{variable(name)}` and restart")


def _choices(kind: Any) -> list[str] | None:
    """Return the words of a `Literal`."""
    words = getattr(kind, "__args__", ())
    return list(words) if words and all(isinstance(word, str) for word in words) else None


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (name in _MASKED and value is not None):
        return "(set)"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return list(value) if isinstance(value, tuple) else str(value)
