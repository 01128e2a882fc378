"""Settings that may be changed while servers run. Pure.

Rule: the environment stays the base. A change is a difference from it, checked as the environment
is; one that another version wrote and this one does not take is left out, never fatal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from cacheserver.config.settings import Settings
from cacheserver.config.sources import variable
from cacheserver.core.errors import BadRequest, Unknown


def _extra(name: str) -> Mapping[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}


LIVE: Final = tuple(name for name in Settings.model_fields if _extra(name).get("live"))

# A value of these is a place or an address that may hold a password.
_MASKED: Final = frozenset({"redis_url", "encryption_key_command", "encryption_old_key_command"})


def check_names(names: Iterable[str]) -> None:
    """Raise `BadRequest` for the first that is not live."""
    for name in names:
        if name not in LIVE:
            raise _not_live(name)


def changed(base: Settings, own: Mapping[str, Any], *, asked: Collection[str] = ()) -> Settings:
    """Return `base` with the values of `own`. Raises `BadRequest` naming the field that is wrong.

    Where several contradict each other, one of `asked` is named. A target takes the place of the
    environment's similarity: a bar is decided in one way.
    """
    check_names(own)
    for name, value in own.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise BadRequest(name, "must be a number or a text")
    given = {name: getattr(base, name) for name in base.model_fields_set}
    if "target" in own:
        given.pop("similarity", None)
    try:
        return Settings(**{**given, **own})
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False, include_context=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    blamed = [name for name in asked if f"`{variable(name)}`" in message]  # by a rule on several
    named = str(first["loc"][0]) if first["loc"] else next(iter((*blamed, *asked)), "settings")
    raise BadRequest(named, message[:1].lower() + message[1:])


def readable(base: Settings, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `own` that hold here, in their order."""
    found: dict[str, Any] = {}
    for name, value in own.items():
        try:
            changed(base, found | {name: value})
        except BadRequest:
            continue
        found[name] = value
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
