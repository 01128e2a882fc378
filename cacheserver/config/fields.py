"""Declarations of settings."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, SecretStr

Secret: TypeAlias = SecretStr | None
Credentials: TypeAlias = Literal["server", "caller"]


def setting(default: Any, help: str, why: str, *, shown: str | None = None, **rules: Any) -> Any:
    """`shown` is the default as the page of settings has it, if it is not the value itself."""
    extra: dict[str, Any] = {"why": why} if shown is None else {"why": why, "shown": shown}
    return Field(default, description=help, json_schema_extra=extra, **rules)
