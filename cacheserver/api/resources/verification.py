"""Verification of a tenant, for the admin: its error rates, its spending, and its reset."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.core.money import usd
from cacheserver.core.times import iso
from cacheserver.core.types import Tenant

router = APIRouter(prefix="/admin/v1/verification", tags=["admin"])


@router.get("/{tenant}", summary="How well the verifying model verifies, and what it costs")
async def show(request: Request, tenant: str) -> dict[str, Any]:
    """The mode; the error rates in use, stated or measured; audited verdicts, weighted by 1 / the
    chance of each to be audited; audited verified hits; whether wrong ones switched it off; what is
    spent today, and the cap.
    """
    app = state_of(request)
    app.gate.admit_admin(request)
    return await _shown(app, await tenant_of(app, tenant))


@router.delete("/{tenant}", summary="Forget the audited verdicts, and switch on again")
async def reset(request: Request, tenant: str) -> dict[str, Any]:
    """Forget what audits have shown: the error rates are the stated ones again. For when the model
    or what is asked has changed. In force on every server within seconds.
    """
    app = state_of(request)
    app.gate.admit_admin(request, "tune")
    found = await tenant_of(app, tenant)
    await app.parts.verification.audited.reset(found.name)
    return await _shown(app, found)


async def _shown(app: AppState, tenant: Tenant) -> dict[str, Any]:
    parts = app.parts.verification
    state = await parts.audited.state(tenant.name)
    return {
        **asdict(tenant.verify),
        "model": parts.model,
        "state": state.name,
        "rates": asdict(parts.audited.rates(state, parts.stated)),
        "audited": asdict(state.audited),
        "hits": {"audited": state.hits, "wrong": state.wrong_hits},
        "drifted_at": None if state.drifted_at is None else iso(state.drifted_at),
        "spent_usd": usd(await parts.call.spent(tenant.name)),
        "usd_per_day": usd(parts.call.cap),
    }
