"""Settings: what an operator may set, read once from the environment and a TOML file.

Rule: nothing else in this package reads the environment. A file is read where it is named, and
nowhere else; `CACHESERVER_*` wins over it. A name that is no setting is refused, for a typing error
must not be a silent default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    ConfigDict,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from cacheserver.claude.platforms.rules import Cloud
from cacheserver.config.answer_settings import AnswerSettings
from cacheserver.config.claude_settings import ClaudeSettings
from cacheserver.config.cloud_upstream import cloud, cloud_url, found_elsewhere, model_names
from cacheserver.config.embedder_settings import MINILM, EmbedderSettings
from cacheserver.config.feature_list import FeatureList
from cacheserver.config.fields import Secret
from cacheserver.config.mail_settings import MailSettings
from cacheserver.config.server_settings import ServerSettings
from cacheserver.config.sources import gather, unread, variable
from cacheserver.config.store_settings import StoreSettings
from cacheserver.config.verification_settings import VerificationSettings
from cacheserver.core.errors import SettingsError
from cacheserver.core.features import Feature
from cacheserver.storage import node_url
from cacheserver.storage.primary_views import tagged
from cacheserver.storage.redis_url import Tls, speaks_tls

ANTHROPIC_URL = "https://api.anthropic.com"
_OF_ENDPOINTS = {
    *("embedder_model", "embedder_key", "embedder_key_file"),
    *("embedder_timeout_s", "embedder_max_bytes"),
}


@dataclass(frozen=True, slots=True)
class UpstreamChoice:
    """The upstream of misses. `base_url` is None for the simulated Claude, not yet started."""

    name: Literal["anthropic", "simulated", "bedrock", "vertex", "url"]
    base_url: str | None
    cloud: Cloud | None = None


class Settings(
    MailSettings,
    VerificationSettings,
    EmbedderSettings,
    AnswerSettings,
    ClaudeSettings,
    StoreSettings,
    ServerSettings,
):
    """One value per setting, checked. The constructor reads nothing; `load` does."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    _read_from: dict[str, str] = PrivateAttr(default_factory=dict)  # "environment" or "file"

    def origin(self, name: str) -> str:
        """Return where a value comes from: `environment`, `file`, `start` or `default`.

        `start`: the program that built these settings gave it.
        """
        return self._read_from.get(name, "start" if name in self.model_fields_set else "default")

    @field_validator(
        "data_dir", "admin_key_file", "model_dir", "embedder_key_file", "prices",
        "redis_ca_file", "redis_cert_file", "redis_key_file",
        "encryption_key_file", "encryption_old_key_file",
    )  # fmt: skip
    @classmethod
    def _paths_at_home(cls, value: Path | None) -> Path | None:
        return value and _at_home(value)

    @field_validator("upstream")
    @classmethod
    def _known_upstream(cls, value: str | None) -> str | None:
        if value in (None, "anthropic", "simulated", "bedrock", "vertex"):
            return value
        if urlsplit(value).scheme not in ("http", "https"):
            raise ValueError(
                "must be `anthropic`, `simulated`, `bedrock`, `vertex` or an http(s) URL"
            )
        return _plain_url(value)

    @field_validator("upstream_endpoint")
    @classmethod
    def _is_endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not is_url(value):
            raise ValueError("must be an http(s) URL")
        return _plain_url(value)

    @field_validator("upstream_models")
    @classmethod
    def _are_names(cls, value: str | None) -> str | None:
        model_names(value)
        return value

    @field_validator("embedder")
    @classmethod
    def _known_embedder(cls, value: str) -> str:
        if is_url(value):
            return _plain_url(value)
        if "://" in value:
            raise ValueError("must be `minilm`, a folder, a model's name or an http(s) URL")
        if value != MINILM and get_close_matches(value.lower(), [MINILM], cutoff=0.8):
            raise ValueError(f"`{value}` is no embedder; did you mean `{MINILM}`?")
        return str(_at_home(Path(value))) if value.startswith("~") else value

    @field_validator("embedder_prior")
    @classmethod
    def _prior_at_home(cls, value: str | None) -> str | None:
        return str(_at_home(Path(value))) if value and value.startswith("~") else value

    @field_validator("embedder", "embedder_model", "embedder_prefix")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        try:
            (value or "").encode()
        except UnicodeEncodeError:
            raise ValueError("is not valid UTF-8") from None
        return value

    @field_validator("embedder_key", "anthropic_api_key")
    @classmethod
    def _fits_a_header(cls, value: Secret) -> Secret:
        if value and not _is_key(value.get_secret_value()):
            raise ValueError("is no key: it must be printable ASCII")
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, value: Secret) -> Secret:
        if value:
            node_url.check_scheme(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.default_ttl_s > self.max_ttl_s:
            raise ValueError("`CACHESERVER_DEFAULT_TTL_S` is above `CACHESERVER_MAX_TTL_S`")
        if self.admin_key is not None and self.admin_key_file is not None:
            raise ValueError("`CACHESERVER_ADMIN_KEY` and `CACHESERVER_ADMIN_KEY_FILE`: set one")
        files = (self.redis_ca_file, self.redis_cert_file, self.redis_key_file)
        url = "" if self.redis_url is None else self.redis_url.get_secret_value()
        if any(files) and not speaks_tls(url):
            raise ValueError(
                "`CACHESERVER_REDIS_CA_FILE`, `..._CERT_FILE` and `..._KEY_FILE` are for a "
                "`CACHESERVER_REDIS_URL` of rediss://"
            )
        if self.redis_key_file is not None and self.redis_cert_file is None:
            raise ValueError("`CACHESERVER_REDIS_KEY_FILE` needs `CACHESERVER_REDIS_CERT_FILE`")
        if urlsplit(url).scheme in node_url.CLUSTER:
            # A frozen model: this is the value from the start, not a change.
            self.__dict__["redis_prefix"] = tagged(self.redis_prefix)
        self._check_encryption()
        self._check_embedder()
        return self

    def _check_embedder(self) -> None:
        if self.embedder_key is not None and self.embedder_key_file is not None:
            raise ValueError(
                "`CACHESERVER_EMBEDDER_KEY` and `CACHESERVER_EMBEDDER_KEY_FILE`: set one"
            )
        for name in sorted(_OF_ENDPOINTS & self.model_fields_set):
            if getattr(self, name) is not None and not is_url(self.embedder):
                raise ValueError(
                    f"`{variable(name)}` is for a `CACHESERVER_EMBEDDER` that is a URL"
                )
        if self.embedder == MINILM and self.embedder_prefix:
            raise ValueError("`CACHESERVER_EMBEDDER_PREFIX` is not for `minilm`, which takes none")
        size = len((self.embedder_prefix or "").encode())
        if is_url(self.embedder) and size >= self.embedder_max_bytes:
            raise ValueError(
                f"`CACHESERVER_EMBEDDER_PREFIX` has {size} bytes: no text beside it fits into "
                f"`CACHESERVER_EMBEDDER_MAX_BYTES`, {self.embedder_max_bytes}"
            )

    def _check_encryption(self) -> None:
        key, old = "CACHESERVER_ENCRYPTION_KEY", "CACHESERVER_ENCRYPTION_OLD_KEY"
        if self.encryption_key_file and self.encryption_key_command:
            raise ValueError(f"`{key}_FILE` and `{key}_COMMAND`: set one")
        if self.encryption_old_key_file and self.encryption_old_key_command:
            raise ValueError(f"`{old}_FILE` and `{old}_COMMAND`: set one")
        now = self.encryption_key_file or self.encryption_key_command
        before = self.encryption_old_key_file or self.encryption_old_key_command
        if before and not now:
            raise ValueError(f"`{old}_FILE` or `{old}_COMMAND` needs `{key}_FILE` or `_COMMAND`")
        if now and self.encryption_give_up:
            raise ValueError("`CACHESERVER_ENCRYPTION_GIVE_UP` is for a start without a key")


def load(
    environ: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    given: Settings | None = None,
) -> Settings:
    """Read the settings. `environ` is the process's own where absent.

    What `given` sets goes before both sources, and `file` before the one that `CACHESERVER_CONFIG`
    names. Raises `SettingsError` that names what is wrong, a line each, and shows no value.
    """
    environ = os.environ if environ is None else environ
    values = gather(environ, list(Settings.model_fields), file=file)
    read_from = {name: "environment" if variable(name) in environ else "file" for name in values}
    if "data_dir" not in values and (home := environ.get("XDG_DATA_HOME")):
        values["data_dir"], read_from["data_dir"] = Path(home) / "cacheserver", "environment"
    key = environ.get("ANTHROPIC_API_KEY", "")
    if "anthropic_api_key" not in values and key and not key.startswith("cs_"):
        values["anthropic_api_key"] = key  # a key of ours there is for an application beside us
        read_from["anthropic_api_key"] = "environment"
    for name in () if given is None else given.model_fields_set:
        values[name] = getattr(given, name)
        read_from.pop(name, None)
    for name, value in found_elsewhere(values, environ):
        values[name], read_from[name] = value, "environment"
    try:
        found = Settings(**values)
    except ValidationError as wrong:
        raise SettingsError("\n".join(map(_line, wrong.errors(include_input=False)))) from None
    found._read_from.update(read_from)
    return found


def load_features_off(
    environ: Mapping[str, str] | None = None, *, file: Path | None = None
) -> tuple[Feature, ...]:
    """Read that one setting, whatever the others are. Raises `SettingsError`."""
    given = gather(environ or os.environ, list(Settings.model_fields), file=file)
    try:
        return TypeAdapter(FeatureList).validate_python(given.get("features_off", ()))
    except ValidationError as wrong:
        line = _text_of(wrong.errors(include_input=False)[0])
        raise SettingsError(f"`{variable('features_off')}`: {line}") from None


def hint(
    environ: Mapping[str, str] | None = None,
    *,
    directory: Path | None = None,
    file: Path | None = None,
) -> str | None:
    """Return what to say of a settings file that is there and not read; None: there is none.

    `environ` and `directory` are the process's own where absent, `file` as for `load`.
    """
    environ = os.environ if environ is None else environ
    return unread(environ, directory or Path.cwd(), file=file)


def resolve_upstream(settings: Settings) -> UpstreamChoice:
    """Return the upstream of misses. Raises `SettingsError` if Claude is wanted without a key.

    Also if a cloud is wanted without its region or its packages.
    """
    match settings.upstream:
        case "simulated":
            return UpstreamChoice("simulated", None)
        case None | "anthropic":
            if settings.anthropic_api_key is None and settings.credentials == "server":
                raise SettingsError(
                    "no key for Claude: set `ANTHROPIC_API_KEY`, or `CACHESERVER_CREDENTIALS="
                    "caller` if callers bring theirs, or `CACHESERVER_UPSTREAM=simulated` to try "
                    "the server without Claude"
                )
            return UpstreamChoice("anthropic", ANTHROPIC_URL)
        case "bedrock" | "vertex" as name:
            found = cloud(settings, name)
            return UpstreamChoice(name, cloud_url(found, settings.upstream_endpoint), found)
        case url:
            return UpstreamChoice("url", url)


def embedder_key(settings: Settings) -> str | None:
    """Return the key for the embeddings endpoint. Raises `SettingsError` on an unreadable file."""
    if settings.embedder_key_file is None:
        return settings.embedder_key.get_secret_value() if settings.embedder_key else None
    try:
        key = settings.embedder_key_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"`CACHESERVER_EMBEDDER_KEY_FILE`: {settings.embedder_key_file} cannot be read: {error}"
        ) from error
    if not _is_key(key):
        raise SettingsError("`CACHESERVER_EMBEDDER_KEY_FILE`: holds no key of one line")
    return key


def _is_key(key: str) -> bool:
    """Return whether a key can be sent in a header."""
    return bool(key) and key.isascii() and key.isprintable()


def _at_home(path: Path) -> Path:
    """Expand `~`. Raises `ValueError`."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("names the home of a user there is not") from None


def is_url(embedder: str) -> bool:
    """Return True if the embedder is an endpoint."""
    return embedder.startswith(("http://", "https://"))


def _plain_url(value: str) -> str:
    """Return the URL without a slash at its end. Raises `ValueError`."""
    parts = urlsplit(value)
    if not parts.hostname:
        raise ValueError("must be an http(s) URL with a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain URL: no credentials, query or fragment")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("must have a port from 1 to 65,535, or none")
    return value.rstrip("/")


def admin_key(settings: Settings) -> str | None:
    """The admin key, from wherever it was set. Raises `SettingsError` on an unreadable file."""
    if settings.admin_key_file is None:
        return settings.admin_key.get_secret_value() if settings.admin_key else None
    try:
        key = settings.admin_key_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"`CACHESERVER_ADMIN_KEY_FILE`: {settings.admin_key_file} cannot be read: {error}"
        ) from error
    if len(key) < 16:
        raise SettingsError("`CACHESERVER_ADMIN_KEY_FILE`: the key is under 16 characters")
    return key


def tls(settings: Settings) -> Tls:
    """The files for `rediss://`."""
    return Tls(settings.redis_ca_file, settings.redis_cert_file, settings.redis_key_file)


def shown(settings: Settings) -> dict[str, str]:
    """The effective settings by variable, as text; of a secret only whether it is set."""
    values = {variable(name): getattr(settings, name) for name in Settings.model_fields}
    return {
        name: "(set)" if isinstance(value, SecretStr) else _text(value)
        for name, value in values.items()
    }


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)


def settings_table() -> str:
    """The settings as a Markdown table: `docs/settings.md` is made from it."""
    rows = ["| setting | default | live | what it is | why this default |", "|---|---|---|---|---|"]
    for name, about in Settings.model_fields.items():
        extra = about.json_schema_extra
        assert isinstance(extra, dict)  # each is made by `setting`
        default = extra.get("shown") or ("none" if about.default is None else f"`{about.default}`")
        live = "yes" if extra.get("live") else "no"
        if (least := extra.get("live_least")) is not None:
            live += f", from `{least}`"
        text = f"{about.description} | {extra['why']}"
        rows.append(f"| `{variable(name)}` | {default} | {live} | {text} |")
    return "\n".join(rows) + "\n"


def _line(error: Any) -> str:
    """Format an error of pydantic, the variable first, without the value: it may be a secret."""
    text = _text_of(error)
    return f"`{variable(str(error['loc'][0]))}`: {text}" if error["loc"] else text


def _text_of(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
