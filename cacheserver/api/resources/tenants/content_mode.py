"""Change of a tenant between keeping content and keeping none.

Rule: either change erases what the tenant has. What was kept in plain, or under digests that can be
guessed, must be gone before the mode is said to be on; what was promised never to be shown must be
gone before it is off. Digests differ between the two, so nothing could be found again anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from cacheserver.api.state import AppState
from cacheserver.core.errors import BadRequest
from cacheserver.erasure.erased import Erased
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.selectors import Selector
from cacheserver.tenants.grace_cache import FRESH_S
from cacheserver.tenants.tenant_json import Settings

T = TypeVar("T")

# Other servers read settings anew after `FRESH_S`; what they took before is written by then.
_FOLLOWED_S: Final = FRESH_S + 1.0


async def change(
    state: AppState, name: str, given: Mapping[str, Any], planned: Settings, *, anew: bool
) -> tuple[Settings, Erased]:
    """Store the settings of a tenant whose mode changes by `given`, and erase its content.

    Returns the settings as they are kept: without bars of scopes, for scopes have other ids.
    `planned` are those that `given` leads to; `anew`: what is stored cannot be read. Raises
    `BadRequest` where the mode cannot be, and `StoreError`: what was announced is done later, by
    whichever server is there.
    """
    if planned.tenant.no_content:
        _check(state)

    async def store() -> Settings:
        return await state.parts.tenants.change(name, {**given, "scope_bars": None}, anew=anew)

    return await erase_after(state, name, store, who="no_content")


async def erase_after(
    state: AppState, name: str, step: Callable[[], Awaitable[T]], *, who: str
) -> tuple[T, Erased]:
    """Take a step after which nothing more comes in as before, then erase all of a tenant.

    With it go the tenants inside it, of callers with Anthropic keys of their own. Raises
    `StoreError`: what was announced is done later, by whichever server is there.
    """
    parts = state.parts
    alone = parts.eraser.ours  # of a store of our own there is one server
    delay_s = 0.0 if alone else _FOLLOWED_S
    announced: dict[str, Erasure] = {}
    for one in (name, *await parts.eraser.inside(name)):
        everything = Selector("tenant", (one,))
        announced[one] = await parts.eraser.announce(one, everything, who=who, delay_s=delay_s)
    done = await step()
    await asyncio.sleep(delay_s)
    for one in await parts.eraser.inside(name):  # that asked for the first time meanwhile
        if one not in announced:
            everything = Selector("tenant", (one,))
            announced[one] = await parts.eraser.announce(one, everything, who=who)
    if (prompts := parts.capabilities.prompt_caching) is not None:
        await prompts.writes.drain()  # of requests that have ended, under the digests of before
    # Whose turns a digest is made of is not known. Of others it costs a prompt cache read at most.
    if (routing := parts.capabilities.routing) is not None:
        await routing.router.forget()
    else:
        await parts.sticky_models.forget()  # of a time when it was not switched off
    for one in announced:
        await parts.labels.forget_states(one)
    erased = await parts.eraser.carry_out(*announced.values())  # last: the file is written anew
    for one in announced:
        parts.tenants.forget(one)  # with the content its key went
    return done, erased


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
