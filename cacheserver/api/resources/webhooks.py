"""`/v1/webhooks`: the secret that webhooks of jobs and alerts are signed with."""

from __future__ import annotations

from fastapi import APIRouter, Request

from cacheserver.api.state import state_of

router = APIRouter(tags=["jobs"])


@router.get("/v1/webhooks/secret", summary="What your webhooks are signed with")
async def secret(request: Request) -> dict[str, str]:
    """Return the secret that verifies `webhook-signature`, as in Standard Webhooks."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    epoch = caller.tenant.batching.webhook_epoch
    return {"secret": await state.parts.webhooks.secrets.secret(caller.tenant.name, epoch)}
