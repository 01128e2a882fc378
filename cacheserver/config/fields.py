"""Declarations of settings."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, SecretStr

Secret: TypeAlias = SecretStr | None
Credentials: TypeAlias = Literal["server", "caller"]
BedrockProfile: TypeAlias = Literal["global", "us", "eu", "apac", "au", "jp", "none"]


def setting(
    default: Any,
    help: str,
    why: str,
    *,
    shown: str | None = None,
    live: bool = False,
    live_least: float | None = None,
    **rules: Any,
) -> Any:
    """Declare a setting.

    `shown` is the default as the page of settings has it, if it is not the value itself. A `live`
    setting may be changed while servers run; who uses it then is told (`LiveSettings.listen`). An
    admin may set it to `live_least` or more: less would shut all out, or delete what is stored.
    """
    extra: dict[str, Any] = {"why": why, "live": live, "live_least": live_least}
    if shown is not None:
        extra["shown"] = shown
    return Field(default, description=help, json_schema_extra=extra, **rules)
