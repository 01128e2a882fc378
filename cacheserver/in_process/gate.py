"""Admission of the process itself. Rule: only requests that came over no connection get here."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from cacheserver.api.admin_act import Admin
from cacheserver.api.components import Components
from cacheserver.api.dependencies import Caller, Gate

WHO = "process"  # in the audit trail
_ADMINS = "/admin/"


class ProcessGate(Gate):
    """Gate that admits as one tenant, and under `/admin/` as an admin.

    Who can run code here can read the store itself: a key would protect nothing.
    """

    def __init__(self, parts: Components, tenant: str) -> None:
        budgets = parts.capabilities.budgets
        limits = None if budgets is None else budgets.rate_limits
        super().__init__(
            parts.tenants,
            credentials="server",
            admin_key=None,
            limits=limits,
            peers=parts.host.peers,
        )
        self._tenant = tenant

    async def _admitted(self, request: HTTPConnection) -> Caller:
        return Caller(await self._tenants.of_caller(self._tenant), None, None, "write")

    def _admin_of(self, request: HTTPConnection) -> Admin | None:
        if request.scope["path"].startswith(_ADMINS):
            return Admin(WHO, "all", None)
        return None
