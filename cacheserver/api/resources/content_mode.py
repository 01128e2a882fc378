"""Change of a tenant between keeping content and keeping none.

Rule: either change erases what the tenant has. What was kept in plain, or under digests that can be
guessed, must be gone before the mode is said to be on; what was promised never to be shown must be
gone before it is off. Digests differ between the two, so nothing could be found again anyway.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from cacheserver.api.state import AppState
from cacheserver.core.errors import BadRequest
from cacheserver.core.types import Tenant
from cacheserver.erasure.erasure import Erased
from cacheserver.erasure.selectors import Selector
from cacheserver.tenants.grace_cache import FRESH_S

# Other servers read settings anew after `FRESH_S`; what they took before is written by then.
_FOLLOWED_S: Final = FRESH_S + 1.0


async def change(state: AppState, changed: Tenant) -> tuple[Tenant, Erased]:
    """Store the settings of a tenant whose mode changed, and erase its content.

    Returns the settings as they are kept: without bars of scopes, for scopes have other ids.
    Raises `BadRequest` where the mode cannot be, and `StoreError`: what was announced is done
    later, by whichever server is there.
    """
    parts = state.parts
    if changed.no_content:
        _check(state)
    changed = replace(changed, scope_bars={})
    alone = parts.eraser.ours  # of a store of our own there is one server
    delay_s = 0.0 if alone else _FOLLOWED_S
    everything = Selector("tenant", (changed.name,))
    announced = await parts.eraser.announce(
        changed.name, everything, who="no_content", delay_s=delay_s
    )
    await parts.tenants.put(changed)
    await asyncio.sleep(delay_s)
    if (prompts := parts.capabilities.prompt_caching) is not None:
        await prompts.writes.drain()  # of requests that have ended, under the digests of before
    # Whose turns a digest is made of is not known. Of others it costs a prompt cache read at most.
    if (routing := parts.capabilities.routing) is not None:
        await routing.router.forget()
    else:
        await parts.sticky_models.forget()  # of a time when it was not switched off
    await parts.labels.forget_states(changed.name)
    erased = await parts.eraser.carry_out(announced)  # last: the store's file is written anew
    parts.tenants.forget(changed.name)  # with the content its key went
    return changed, erased


def _check(state: AppState) -> None:
    """Raise `BadRequest` where no tenant of this server can go without content."""
    if not state.parts.tenants.seals:
        raise BadRequest(
            "no_content",
            "needs encryption at rest: set `CACHESERVER_ENCRYPTION_KEY_FILE` (or "
            "`CACHESERVER_ENCRYPTION_KEY_COMMAND`) and restart",
        )
    if state.gate.credentials == "caller":
        raise BadRequest(
            "no_content",
            "is not for `CACHESERVER_CREDENTIALS=caller`, where each key of Anthropic's is a "
            "tenant of its own",
        )
