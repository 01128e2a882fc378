"""Routes of the server: one table of resources, each with the capability it belongs to.

Rule: a resource of a capability that is off has its paths and methods all the same. Each admits its
caller first, then answers 404 with the name of the setting, whatever was sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cacheserver.api.admin_page import routes as admin_page
from cacheserver.api.plain_route import PlainRoute, RestRoute
from cacheserver.api.resources import (
    admin,
    alerts,
    bars,
    batches,
    budgets,
    cache,
    conversations,
    erasure,
    feedback,
    jobs,
    labels,
    lint,
    messages,
    own_answers,
    prices,
    prompts,
    query,
    routing,
    usage,
    verification,
    webhooks,
)
from cacheserver.api.resources.admins import audit_trail, keys
from cacheserver.api.resources.entries import admin as entries
from cacheserver.api.resources.entries import own as own_entries
from cacheserver.api.resources.entries import purge
from cacheserver.api.resources.operations import health
from cacheserver.api.resources.operations import prices as live_prices
from cacheserver.api.resources.operations import settings as live_settings
from cacheserver.api.resources.overview import live, overview
from cacheserver.api.resources.passthrough import models
from cacheserver.api.resources.passthrough import routes as passthrough
from cacheserver.api.resources.sample import routes as sample
from cacheserver.api.resources.tenants import deletion as tenant_deletion
from cacheserver.api.resources.tenants import keys as tenant_keys
from cacheserver.api.resources.tenants import lifetimes
from cacheserver.api.resources.tenants import settings as tenant_settings
from cacheserver.api.resources.transfer import exports, imports
from cacheserver.api.resources.tuning import decisions, scopes
from cacheserver.api.resources.work import audits, routing_rules
from cacheserver.api.resources.work import conversations as all_conversations
from cacheserver.api.resources.work import jobs as all_jobs
from cacheserver.api.state import state_of
from cacheserver.core.errors import SwitchedOff
from cacheserver.core.features import Feature


@dataclass(frozen=True, slots=True)
class Resource:
    """Routes and their capability; None: of the kernel, or asked for within the handlers."""

    source: APIRouter | Sequence[PlainRoute]
    feature: Feature | None = None

    @property
    def routes(self) -> list[Route]:
        found = self.source.routes if isinstance(self.source, APIRouter) else self.source
        return [route for route in found if isinstance(route, Route)]


# The hot path first: routes are tried in this order.
RESOURCES: Final[tuple[Resource, ...]] = (
    Resource(messages.ROUTES),
    Resource(models.ROUTES),
    Resource(batches.ROUTES),  # while batches are off, those of a caller's own key are passed on
    Resource(query.router),
    Resource(conversations.router, "conversations"),
    Resource(jobs.router, "batches"),
    Resource(webhooks.router),
    Resource(lint.router, "lint"),
    Resource(prompts.router, "prompt-caching"),
    Resource(usage.router),
    Resource(budgets.router, "budgets"),
    Resource(alerts.router, "alerts"),
    Resource(prices.router),
    Resource(cache.router),
    Resource(decisions.router),
    Resource(own_entries.router),
    Resource(own_answers.router),
    Resource(entries.router),
    Resource(purge.router),
    Resource(scopes.router, "calibration"),
    Resource(erasure.router, "erasure"),
    Resource(feedback.router, "calibration"),
    Resource(bars.router),
    Resource(bars.changes, "calibration"),
    Resource(labels.router, "calibration"),
    Resource(routing.router, "trials"),
    Resource(routing.thresholds),
    Resource(routing_rules.router, "routing"),
    Resource(verification.router, "verification"),
    Resource(tenant_settings.router),
    Resource(tenant_deletion.router, "erasure"),
    Resource(tenant_keys.router),
    Resource(lifetimes.router),
    Resource(admin.router),
    Resource(overview.router),
    Resource(overview.own),
    Resource(live.router),
    Resource(keys.router),
    Resource(audit_trail.router),
    Resource(live_settings.router),
    Resource(live_prices.router),
    Resource(health.router),
    Resource(audits.router, "analysis"),
    Resource(imports.router),
    Resource(exports.router),
    Resource(all_jobs.router, "batches"),
    Resource(all_conversations.router, "conversations"),
    Resource(admin_page.router),
    Resource(admin_page.PAGES),
    Resource(sample.router),
)


def _rest(endpoint: Callable[[Request], Awaitable[Response]]) -> RestRoute:
    """Return the last route: all else of Anthropic's API."""
    return RestRoute(
        "/v1/{path:path}",
        endpoint,
        *passthrough.METHODS,
        others=[route for resource in RESOURCES for route in resource.routes],
        shared=("messages", "models"),  # Anthropic's words, which may get paths that we do not know
    )


# What nearly every request is for; answered by the same handlers without a search for them. Both
# take `POST` alone.
HOT: Final[tuple[Route, ...]] = tuple(
    route
    for resource in RESOURCES
    for route in resource.routes
    if route.path in ("/v1/messages", "/v1/query")
)


def install(app: FastAPI, off: Collection[Feature]) -> None:
    """Add all resources; those of the features in `off` are refused."""
    for resource in RESOURCES:
        if resource.feature is not None and resource.feature in off:
            app.router.routes.extend(_refused(resource, resource.feature))
        elif isinstance(resource.source, APIRouter):
            app.include_router(resource.source)
        else:
            app.router.routes.extend(resource.source)
    off_too = _refusal("passthrough") if "passthrough" in off else passthrough.pass_on
    app.router.routes.append(_rest(off_too))


def _refused(resource: Resource, feature: Feature) -> list[PlainRoute]:
    refuse = _refusal(feature)
    return [PlainRoute(each.path, refuse, *(each.methods or ())) for each in resource.routes]


def _refusal(feature: Feature) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        gate = state_of(request).gate
        if request.url.path.startswith("/admin/"):
            gate.admit_admin(request)
        else:
            await gate.admit(request)
        raise SwitchedOff(feature)

    return refuse
