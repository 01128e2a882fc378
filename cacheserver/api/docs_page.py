"""`/docs`: the API's description in Swagger UI, from files of this package.

Rule: the page asks no host but this one. Its content security policy says so to the browser.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from cacheserver.api.plain_route import PlainRoute

FOLDER: Final = Path(__file__).with_name("swagger_ui")

_HEADERS: Final = {
    # Swagger UI writes styles into the elements it makes; scripts are its files alone.
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def install(app: FastAPI) -> None:
    """Add the page and its files."""
    app.router.routes.append(PlainRoute("/docs", page, "GET"))
    app.mount("/docs", StaticFiles(directory=FOLDER))


async def page(request: Request) -> Response:
    return FileResponse(FOLDER / "page.html", headers=_HEADERS)
