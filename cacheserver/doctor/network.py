"""Checks over the network: the server that runs, and Claude."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from cacheserver.core.errors import CacheServerError
from cacheserver.doctor.check import Check, Status, failed, ok, skipped, warning
from cacheserver.doctor.machine import installed_version
from cacheserver.doctor.parts import check_clock

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings

_TIMEOUT_S: Final = 5.0
_API_VERSION: Final = "2023-06-01"  # any that Claude takes: the reply is a list of models
_STATUSES: Final[Mapping[str, Status]] = {"ok": "ok", "degraded": "warning", "failed": "failed"}


def check_server(url: str, admin_key: str | None) -> list[Check] | None:
    """Check the cacheserver that answers on `url`; None if no program does."""
    import httpx2

    try:
        with httpx2.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            reply = client.get(f"{url}/readyz")
            found = _object(reply)
            if found is None or "ready" not in found:
                do = "end the other program, or set `CACHESERVER_PORT`"
                return [failed("port", f"{url}: another program answers", do)]
            checks = [_ready(url, found)]
            if admin_key is None:
                return [*checks, skipped("health", "needs `CACHESERVER_ADMIN_KEY`")]
            reply = client.get(f"{url}/admin/v1/health", headers={"x-api-key": admin_key})
    except httpx2.ConnectError:
        return None
    except httpx2.HTTPError as error:
        return [failed("server", f"{url}: {type(error).__name__}", "restart it, and see its log")]
    health = _object(reply)
    if not reply.is_success or health is None or "checks" not in health:
        do = "set `CACHESERVER_ADMIN_KEY` to the key of this server"
        return [*checks, warning("health", f"status {reply.status_code}", do)]
    return [*checks, _drift(health["versions"]), *map(_of_health, health["checks"])]


def _ready(url: str, found: Mapping[str, Any]) -> Check:
    states = ", ".join(f"{name} {state}" for name, state in found.items() if name != "ready")
    if found["ready"]:
        return ok("server", f"{url}: ready ({states})")
    return failed("server", f"{url}: not ready ({states})", "see the checks of its health below")


def _drift(versions: Mapping[str, str]) -> Check:
    ours, running = installed_version(), versions.get("cacheserver", "")
    found = f"installed {ours}, running {running}"
    if ours == running:
        return ok("versions", found)
    return warning("versions", found, "restart the server, or run doctor of its installation")


def _of_health(one: Mapping[str, Any]) -> Check:
    status = _STATUSES.get(one["status"], "warning")
    return Check(f"server: {one['name']}", status, str(one["found"]), one.get("do"))


def check_upstream(settings: Settings) -> list[Check]:
    """Check that Claude is there and takes the key. A list of models is asked for: it is free."""
    import httpx2

    from cacheserver.config.settings import resolve_upstream

    try:
        chosen = resolve_upstream(settings)
    except CacheServerError as error:
        return [failed("upstream", "a setting is missing", str(error))]
    if chosen.base_url is None:
        return [ok("upstream", "a simulated Claude; its answers are made up")]
    if chosen.cloud is not None:  # it answers only what its own client signs
        from cacheserver.doctor.cloud import check_cloud

        checking = check_cloud(chosen.cloud, chosen.base_url, settings.default_model)
        return [asyncio.run(checking)]
    headers = {"anthropic-version": _API_VERSION}
    if settings.credentials == "server" and (secret := settings.anthropic_api_key) is not None:
        headers["x-api-key"] = secret.get_secret_value()
    try:
        with httpx2.Client(timeout=_TIMEOUT_S) as client:
            reply = client.get(f"{chosen.base_url}/v1/models", headers=headers)
    except httpx2.HTTPError as error:
        found = f"{chosen.base_url}: {type(error).__name__}: {error}"
        do = "check the network, DNS, proxy (HTTPS_PROXY) and `CACHESERVER_UPSTREAM`"
        return [failed("upstream", found, do)]
    return [_answered(chosen.base_url, reply.status_code, "x-api-key" in headers), *_clock(reply)]


def _answered(url: str, status: int, with_key: bool) -> Check:
    found = f"{url}: status {status}"
    if status in (401, 403) and with_key:
        return failed("upstream", found, "set `ANTHROPIC_API_KEY` to a key that is valid")
    if status >= 500:
        return warning("upstream", found, "Claude, or a proxy before it, fails; try again")
    return ok("upstream", f"{found}, key accepted" if with_key and status == 200 else found)


def _clock(reply: Any) -> list[Check]:
    """Return the check of this machine's clock against the upstream's, where it tells the time."""
    try:
        at = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return []
    return [check_clock("Claude's", max(0.0, abs(time.time() - at) - 1))]  # its is of whole seconds


def _object(reply: Any) -> dict[str, Any] | None:
    try:
        found = reply.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
