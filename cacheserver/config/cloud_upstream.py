"""Claude at a cloud, out of the settings: region, names of models, and address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from cacheserver.claude.platforms.rules import CALLED, Cloud, CloudName
from cacheserver.core.errors import SettingsError

if TYPE_CHECKING:
    from cacheserver.config.settings import Settings

# Where each cloud's own tools look for the region.
REGION_VARIABLES: Final[Mapping[CloudName, tuple[str, ...]]] = {
    "bedrock": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "vertex": ("CLOUD_ML_REGION",),
}
PROJECT_VARIABLES: Final = ("ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")
_MODULES: Final[Mapping[CloudName, str]] = {"bedrock": "botocore", "vertex": "google.auth"}
# Places that are several regions have a host of their own (the SDK's table).
_VERTEX_HOSTS: Final[Mapping[str, str]] = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}


def cloud(settings: Settings, name: CloudName) -> Cloud:
    """Return the cloud that the settings name. Raises `SettingsError` for what it lacks."""
    if settings.credentials == "caller":
        raise SettingsError(
            f"`CACHESERVER_CREDENTIALS=caller` is for Anthropic's API; {CALLED[name]} is asked "
            "with this machine's credentials"
        )
    if not _is_installed(_MODULES[name]):
        raise SettingsError(
            f"`CACHESERVER_UPSTREAM={name}` needs packages: install cacheserver's extra `{name}`"
        )
    region = settings.upstream_region
    if region is None:
        variables = ", ".join(f"`{one}`" for one in REGION_VARIABLES[name])
        raise SettingsError(
            f"`CACHESERVER_UPSTREAM={name}` needs a region: set `CACHESERVER_UPSTREAM_REGION`, or "
            f"{variables}"
        )
    if name == "vertex" and settings.vertex_project is None:
        raise SettingsError(
            "`CACHESERVER_UPSTREAM=vertex` needs a project: set `CACHESERVER_VERTEX_PROJECT`, or "
            f"{', '.join(f'`{one}`' for one in PROJECT_VARIABLES)}"
        )
    return Cloud(
        name,
        region,
        profile=settings.bedrock_profile,
        project=settings.vertex_project,
        models=model_names(settings.upstream_models),
    )


def cloud_url(found: Cloud, endpoint: str | None) -> str:
    """Return the address of a cloud's API; `endpoint` is another one, such as a private one."""
    if endpoint is not None:
        return endpoint
    if found.name == "bedrock":
        return f"https://bedrock-runtime.{found.region}.amazonaws.com"
    host = _VERTEX_HOSTS.get(found.region, f"{found.region}-aiplatform.googleapis.com")
    return f"https://{host}/v1"


def model_names(text: str | None) -> dict[str, str]:
    """Return names by model from `model=name,...`. Raises `ValueError`."""
    names: dict[str, str] = {}
    for pair in filter(None, map(str.strip, (text or "").split(","))):
        model, equals, name = map(str.strip, pair.partition("="))
        if not (model and equals and name and name.isascii() and name.isprintable()):
            raise ValueError("must be `model=name` pairs with commas between")
        names[model] = name
    return names


def found_elsewhere(
    given: Mapping[str, object], environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield settings that were not given and that each cloud's own variables have."""
    name = given.get("upstream")
    if name == "bedrock" or name == "vertex":
        places = {"upstream_region": REGION_VARIABLES["bedrock" if name == "bedrock" else "vertex"]}
        if name == "vertex":
            places["vertex_project"] = PROJECT_VARIABLES
        for setting, variables in places.items():
            values = (environ[one] for one in variables if environ.get(one))
            if setting not in given and (value := next(values, None)) is not None:
                yield setting, value


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
