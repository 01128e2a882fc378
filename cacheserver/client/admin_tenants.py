"""Calls of `/admin/v1` about tenants, their keys, and the keys of admins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from cacheserver.client.calls import Calls, Object, Text, check, path, refuse_strings
from cacheserver.client.filters import KeyChanges, conditions
from cacheserver.client.types import Erasure

_V1 = "/admin/v1"


class Tenants(Calls[Object, Text]):
    """Tenants: settings, lifetimes, budgets, erasures."""

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Object:
        """Return a page of the tenants with settings or a key."""
        return self._get(f"{_V1}/tenants", limit=limit, cursor=cursor)

    def settings(self, name: str) -> Object:
        """Return a tenant's settings, and where each comes from."""
        return self._get(path(f"{_V1}/tenants", name))

    def change(self, name: str, **settings: Any) -> Object:
        """Change the settings given, such as `default_ttl_s`; None: back to the default.

        Raises `BadRequestError` for a name that the server does not have, with the nearest.
        """
        return self._put(path(f"{_V1}/tenants", name), settings)

    def remove(self, name: str, *, confirm: str) -> Object:
        """Delete a tenant and all that it has; `confirm` is its name once more."""
        return self._delete(path(f"{_V1}/tenants", name), {"confirm": confirm})

    def lifetime(
        self,
        name: str,
        *,
        namespace: str | None = None,
        task: str | None = None,
        model: str | None = None,
        tags: Sequence[str] | None = None,
        ttl_s: int | None = None,
        question: str | None = None,
    ) -> Object:
        """Return the lifetime that the answer to such a question would get, by rule."""
        asked = {
            "namespace": namespace,
            "task": task,
            "model": model,
            "tags": tags,
            "ttl_s": ttl_s,
            "question": question,
        }
        refuse_strings(asked)
        given = {name: value for name, value in asked.items() if value is not None}
        return self._compute(path(f"{_V1}/tenants", name, "ttl-check"), given)

    def budget(self, name: str) -> Object:
        """Return a tenant's budgets, by key."""
        return self._get(path(f"{_V1}/tenants", name, "budget"))

    def budgets(self, *, limit: int | None = None, cursor: str | None = None) -> Object:
        """Return a page of the budgets of all tenants."""
        return self._get(f"{_V1}/budgets", limit=limit, cursor=cursor)

    def shadow(
        self,
        name: str,
        *,
        target: float | None = None,
        probability: float | None = None,
        similarity: float | None = None,
    ) -> Object:
        """Return what shadow mode saw."""
        at = {"target": target, "probability": probability, "similarity": similarity}
        return self._get(path(f"{_V1}/tenants", name, "shadow"), **at)

    def erase(self, name: str, **selector: Unpack[Erasure]) -> Object:
        """Erase every trace of content of a tenant. See `Erasure`."""
        chosen = conditions("admin.tenants.erase", selector, Erasure)
        return self._post(path(f"{_V1}/tenants", name, "erase"), chosen)

    def erasures(self, name: str) -> Object:
        """Return the erasures that were."""
        return self._get(path(f"{_V1}/tenants", name, "erasures"))


class Keys(Calls[Object, Text]):
    """API keys of tenants."""

    def list(
        self, *, tenant: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Object:
        """Return a page of keys, without the keys themselves."""
        return self._get(f"{_V1}/keys", tenant=tenant, limit=limit, cursor=cursor)

    def create(
        self,
        tenant: str,
        *,
        label: str = "",
        role: Literal["ask", "write"] = "ask",
        expires: str | float | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Object:
        """Create a key; `key` of the answer is the only time it is shown."""
        given = {"expires": expires, "limits": limits}
        given = {name: value for name, value in given.items() if value is not None}
        return self._post(f"{_V1}/keys", {"tenant": tenant, "label": label, "role": role, **given})

    def change(self, id: str, **changes: Unpack[KeyChanges]) -> Object:
        """Change `label` or `expires`, which None takes away."""
        check("admin.keys.change", changes, KeyChanges)
        return self._put(path(f"{_V1}/keys", id), changes)

    def rotate(
        self, id: str, *, overlap: str | float = 0, expires: str | float | None = None
    ) -> Object:
        """Create a key in the place of one, which is taken for `overlap` more."""
        given = (
            {"overlap": overlap} if expires is None else {"overlap": overlap, "expires": expires}
        )
        return self._post(path(f"{_V1}/keys", id, "rotate"), given)

    def limit(
        self,
        id: str,
        *,
        requests_per_minute: int | None = None,
        concurrent_misses: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> Object:
        """Set limits; those that are not given are removed."""
        limits = {
            "requests_per_minute": requests_per_minute,
            "concurrent_misses": concurrent_misses,
            "tokens_per_minute": tokens_per_minute,
        }
        return self._put(path(f"{_V1}/keys", id, "limits"), limits)

    def revoke(self, id: str) -> Object:
        """Revoke a key, on all servers."""
        return self._delete(path(f"{_V1}/keys", id))


class AdminKeys(Calls[Object, Text]):
    """Named admin keys, and what their holders changed."""

    def list(self) -> Object:
        """Return every named admin key, without the key itself."""
        return self._get(f"{_V1}/admin-keys")

    def create(
        self,
        name: str,
        role: Literal["read", "tune", "all"],
        *,
        expires: str | float | None = None,
    ) -> Object:
        """Create an admin key; `key` of the answer is the only time it is shown."""
        given = {} if expires is None else {"expires": expires}
        return self._post(f"{_V1}/admin-keys", {"name": name, "role": role, **given})

    def revoke(self, id: str) -> Object:
        """Revoke a named admin key, on all servers."""
        return self._delete(path(f"{_V1}/admin-keys", id))

    def trail(
        self,
        *,
        who: str | None = None,
        tenant: str | None = None,
        route: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Object:
        """Return a page of what admins changed. Times are Unix seconds."""
        chosen = {"who": who, "tenant": tenant, "route": route, "since": since, "until": until}
        return self._get(f"{_V1}/audit-trail", **chosen, limit=limit, cursor=cursor)
