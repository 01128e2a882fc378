"""Settings: what an operator may set, read once from the environment and a TOML file.

Rule: nothing else in this package reads the environment. A file is read where it is named, and
nowhere else; `CACHESERVER_*` wins over it. A name that is no setting is refused, for a typing error
must not be a silent default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from cacheserver.config.feature_list import FeatureList
from cacheserver.config.sizes import Bytes, BytesLimit
from cacheserver.config.sources import gather, unread, variable
from cacheserver.core.errors import SettingsError
from cacheserver.core.features import FEATURES, Feature
from cacheserver.core.rules.routing import CHEAPEST_MODEL
from cacheserver.core.types import DEFAULT_TTL_S, MAX_TTL_S
from cacheserver.storage.redis_url import Tls

if TYPE_CHECKING:
    from cacheserver.storage.sealing.master_key import MasterKey, MasterKeys

ANTHROPIC_URL = "https://api.anthropic.com"

Secret: TypeAlias = SecretStr | None
Credentials: TypeAlias = Literal["server", "caller"]


@dataclass(frozen=True, slots=True)
class UpstreamChoice:
    """Who answers a miss. `base_url` is None for the simulated Claude, which has no address yet."""

    name: Literal["anthropic", "simulated", "url"]
    base_url: str | None


def _setting(default: Any, help: str, why: str, *, shown: str | None = None, **rules: Any) -> Any:
    """`shown` is the default as the page of settings has it, if it is not the value itself."""
    extra: dict[str, Any] = {"why": why} if shown is None else {"why": why, "shown": shown}
    return Field(default, description=help, json_schema_extra=extra, **rules)


class Settings(BaseModel):
    """One value per setting, checked. The constructor reads nothing; `load` does."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = _setting(
        "127.0.0.1",
        "Address to listen on. Anything but loopback needs a key (`cacheserver key create`).",
        "A server nobody has set up yet must not be reachable from a network.",
        min_length=1,
    )
    port: int = _setting(
        8080, "Port to listen on; 0 takes a free one.", "The customary one.", ge=0, le=65_535
    )
    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local/share/cacheserver",
        description="Where the embedded store, the index snapshot and the model are kept.",
        json_schema_extra={
            "why": "The XDG data home: what is kept outlives a reboot and needs no rights.",
            "shown": "`$XDG_DATA_HOME/cacheserver`, else `~/.local/share/cacheserver`",
        },
    )
    redis_url: Secret = _setting(
        None,
        "Your own Redis or Valkey: `redis://`, `rediss://` or `unix://`. A secret: it may hold a "
        "password.",
        "Without it, a Valkey is started in the data directory and nothing need be installed.",
    )
    redis_ca_file: Path | None = _setting(
        None,
        "Certificates in PEM that `rediss://` trusts: those of your own CA.",
        "Without it, those that this machine trusts.",
    )
    redis_cert_file: Path | None = _setting(
        None,
        "The client certificate for `rediss://`, in PEM, with what leads to its CA.",
        "Without it, none is shown; few servers ask for one.",
    )
    redis_key_file: Path | None = _setting(
        None,
        "The private key of that certificate, in PEM and not encrypted.",
        "Without it, it is read from the certificate's file.",
    )
    redis_prefix: str = _setting(
        "cs1:",
        "In front of every key in Redis.",
        "Short, since every entry pays for it; its digit is raised if the layout changes.",
        pattern=r"^[A-Za-z0-9._:-]{1,32}$",
    )
    admin_key: Secret = _setting(
        None,
        "What `/admin` and `/metrics` ask for, at least 16 characters.",
        "Without it both are closed: there is no safe default for a secret.",
        min_length=16,
    )
    admin_key_file: Path | None = _setting(
        None,
        "A file that holds the admin key, instead of `CACHESERVER_ADMIN_KEY`.",
        "An environment is easily shown by accident; a file with mode 0600 is not.",
    )
    upstream: str | None = _setting(
        None,
        "Who answers a miss: `anthropic`, `simulated`, or the http(s) URL of a Messages API.",
        "Without it `anthropic`, if there is a key or callers bring theirs; else the server does "
        "not start, rather than answer with something that is not Claude.",
    )
    anthropic_api_key: Secret = _setting(
        None,
        "The key for Claude. `ANTHROPIC_API_KEY` is read where this is absent.",
        "The usual name works; the longer one tells the server from an application beside it.",
        min_length=1,
    )
    credentials: Credentials = _setting(
        "server",
        "`server`: callers present a key of ours and Claude is asked with the server's. `caller`: "
        "they present their own Anthropic key, which goes to Claude.",
        "One key for Claude, kept in one place, never seen by callers.",
    )
    store_wait_s: float = _setting(
        0.25,
        "How long a request may wait for the store in all, before it is answered without it.",
        "A hundred times what the store takes, and not noticed beside a call to Claude.",
        gt=0,
        le=60,
    )
    max_body_bytes: Bytes = _setting(
        32 * 1024**2,
        "The largest request body; `32MiB`, `512MB` and plain bytes are understood.",
        "Anthropic's own limit for Messages (32 MB).",
    )
    max_connections: int = _setting(
        8_192,
        "Connections at a time, fewer where the process may not open so many files.",
        "Some 25 kB each: 200 MB when all are taken, more than a hundred times what 64 calls need.",
        ge=1,
        le=1_000_000,
    )
    max_connections_per_address: int = _setting(
        1_024,
        "Of them from one address (of IPv6, a /64). Behind a proxy all come from the proxy's: set "
        "it to `CACHESERVER_MAX_CONNECTIONS` there.",
        "An eighth of all, so that no one caller takes the whole; SDKs open 100 to 1,000.",
        ge=1,
        le=1_000_000,
    )
    header_timeout_s: float = _setting(
        10.0,
        "From a request's first byte to the end of its headers; then 408.",
        "Headers are one packet; a mobile network that loses it three times sends it within 10 s.",
        gt=0,
        le=3_600,
    )
    body_timeout_s: float = _setting(
        600.0,
        "How long a whole body may take; 500 bytes a second are asked for besides. Then 408.",
        "The Anthropic SDK waits no longer than that for its answer.",
        gt=0,
        le=86_400,
    )
    reader_timeout_s: float = _setting(
        60.0,
        "How long an answer may wait for a reader who takes none of it.",
        "nginx's `send_timeout`; a program that stops reading for a minute has most likely gone.",
        gt=0,
        le=86_400,
    )
    max_bytes: BytesLimit = _setting(
        1_000_000_000,
        "How much the stored answers may take; beyond it the least useful go. `unlimited`: none.",
        "About 400,000 answers of 2.5 kB, and no surprise on a laptop.",
    )
    default_model: str = _setting(
        CHEAPEST_MODEL,
        "The model behind `auto`.",
        "The cheapest current model; sonnet costs 20 times as much.",
        min_length=1,
    )
    default_ttl_s: int = _setting(
        DEFAULT_TTL_S,
        "How long an answer is served where nothing else is set; 0 stores nothing unless asked.",
        "An hour: long enough for repeats of one day's work, short enough for facts that change.",
        ge=0,
    )
    max_ttl_s: int = _setting(
        MAX_TTL_S,
        "The longest a caller may ask for; longer requests are cut to it.",
        "30 days: models are replaced faster than answers older than that are worth keeping.",
        ge=0,
    )
    target: float = _setting(
        0.01,
        "The share of semantic hits that may be wrong, where a tenant has no bar of its own.",
        "One in a hundred: fewer than people who answer support mail get wrong.",
        gt=0,
        le=0.5,
    )
    audit_usd_per_day: float = _setting(
        1.0,
        "What asking hits again, to see whether they were right, may cost a tenant a day.",
        "Some 5,000 short answers of the cheapest model; without audits no error is ever measured.",
        ge=0,
        le=100_000,
    )
    judge_usd_per_day: float = _setting(
        0.0,
        "What asking Claude whether two answers say the same, where embeddings leave it open, may "
        "cost a tenant a day; 0: never asked.",
        "Off: what is open counts as different, which costs hits and never a wrong one.",
        ge=0,
        le=100_000,
    )
    judge_share: float = _setting(
        0.2,
        "The share of such pairs that Claude is asked about, where it may be asked.",
        "One in five tells of a scope what all would, at a fifth of the price.",
        gt=0,
        le=1,
    )
    judge_model: str = _setting(
        CHEAPEST_MODEL,
        "The model that is asked; it must take `thinking` of type `disabled`.",
        "The cheapest current model reads two answers well enough, in one word.",
        min_length=1,
    )
    similarity: float | None = _setting(
        None,
        "The cosine a stored question must reach to answer another one, where a tenant has no bar.",
        "None: a cosine alone serves a quarter to a half of the near misses written to fool it.",
        gt=0,
        le=1,
    )
    top_k: int = _setting(
        10,
        "How many neighbours are looked at before it is a miss.",
        "Their agreement is evidence, in one round trip; what is served is of the nearest three.",
        ge=1,
        le=100,
    )
    model_dir: Path | None = _setting(
        None,
        "The exported embedding model; `model` in the data directory where absent.",
        "It is made once per machine and lives with the data it measures.",
    )
    encryption_key_file: Path | None = _setting(
        None,
        "A file with the master key that all content in the store is encrypted under: 32 bytes as "
        "hex or base64 (`openssl rand -hex 32`), not readable by others.",
        "Without it nothing is encrypted: who loses the key loses the data, so it is asked for.",
    )
    encryption_key_command: str | None = _setting(
        None,
        "A command that prints that key, instead: of a key service, say. No shell reads it.",
        "Without it, the file; a key itself is in no variable.",
        min_length=1,
    )
    encryption_old_key_file: Path | None = _setting(
        None,
        "The master key before that one, while keys are rotated ([how](running.md#encryption)).",
        "Without it, one key opens everything, as it does between rotations.",
    )
    encryption_old_key_command: str | None = _setting(
        None, "A command that prints that one.", "Without it, the file.", min_length=1
    )
    encryption_give_up: bool = _setting(
        False,
        "Whether to start without the master key though there is encrypted data, which is then "
        "not there: answers, conversations, jobs, decisions, gold sets, tenants' settings.",
        "A key that is missing by mistake must not look like an empty cache.",
    )
    prices: Path | None = _setting(
        None,
        "A TOML file of prices that go before the built-in ones; `docs/running.md` has an example.",
        "The built-in ones are Anthropic's list prices; yours may be negotiated.",
    )
    wrong_hit_usd: float = _setting(
        0.0,
        "What a wrong answer costs you, in US dollars: it is taken off the savings in reports.",
        "Only you know; at 0 the estimate of wrong answers stands beside the savings all the same.",
        ge=0,
        le=1_000_000,
    )
    max_decision_bytes: BytesLimit = _setting(
        250_000_000,
        "How much the records of decisions may take, kept a day at most; beyond it the oldest go.",
        "Some 170,000 of 1.5 kB: a day of two requests a second, half an hour of a hundred.",
    )
    max_ledger_bytes: BytesLimit = _setting(
        250_000_000,
        "How much the ledger's rows may take in Redis; beyond it the oldest go to files.",
        "A million rows of 250 bytes: a month of 23 requests a minute.",
    )
    max_job_bytes: BytesLimit = _setting(
        500_000_000,
        "How much batches, jobs and their results may take. Beyond it the results that would end "
        "first go; where those are not enough, a new job is a 429.",
        "Two of the largest batches (256 MB), packed to half, with their answers.",
    )
    max_label_bytes: BytesLimit = _setting(
        250_000_000,
        "How much labels and what was learned of them may take; beyond it the scopes that had "
        "none for longest begin anew.",
        "Some 600,000 labels of 420 bytes: six tenants with all the 100,000 each may have.",
    )
    ledger_file_days: int = _setting(
        365,
        "How many days rows of the ledger are kept in files, after their 30 in Redis.",
        "A year, to be held against last year's.",
        ge=1,
        le=36_500,
    )
    max_concurrent: int = _setting(
        64,
        "Calls to Claude in flight at a time.",
        "A call takes seconds: 64 are some 1,000 a minute, the smallest rate limit (Start).",
        ge=1,
    )
    max_waiting: int = _setting(
        256,
        "Calls that wait for one of those; more are answered 529 at once.",
        "Four rounds: whoever waits longer is better told to come back.",
        ge=0,
    )
    max_wait_s: float = _setting(
        30.0,
        "How long a call waits for one; then it is answered 529.",
        "Half the minute after which proxies give up (nginx, AWS), so there is time for an answer.",
        gt=0,
        le=3_600,
    )
    retries: int = _setting(
        2,
        "How often a call to Claude that failed is made again; 0: never, and the caller retries.",
        "The Anthropic SDK's own.",
        ge=0,
        le=10,
    )
    retry_wait_s: float = _setting(
        10.0,
        "How long a call may wait for that in all. Told to wait longer, it fails at once.",
        "Room for the SDK's two back-offs and a short `retry-after`; people wait no longer.",
        ge=0,
        le=600,
    )
    abandoned_s: float = _setting(
        30.0,
        "How long a call to Claude goes on, to be stored, after its callers have left.",
        "Who hung up on a time-out is back sooner: SDKs wait 8 seconds at most between tries.",
        ge=0,
        le=86_400,
    )
    breaker_share: float = _setting(
        0.5,
        "The share of calls to Claude in half a minute above which it is not asked for a while, "
        "where they failed (5xx, time-out, lost connection); 1: it is always asked.",
        "More fail than not: what is served then is luck, and each failure holds a slot.",
        gt=0,
        le=1,
    )
    breaker_calls: int = _setting(
        10,
        "How many calls, retries included, must have been made for that.",
        "Of ten that succeed 95% of the time more than half fail once in 360,000 times.",
        ge=1,
    )
    breaker_open_s: float = _setting(
        5.0,
        "How long it is not asked at first; doubled to 60 s while a probe fails.",
        "Shorter than one patient retry; a restart behind a gateway takes no longer.",
        gt=0,
        le=60,
    )
    timeout_s: float = _setting(
        600.0, "How long Claude may take.", "The Anthropic SDK's own.", gt=0, le=86_400
    )
    smtp_host: str | None = _setting(
        None,
        "The mail server that alerts by mail are handed in at.",
        "Without it there is no mail; the log and webhooks have the alerts all the same.",
        min_length=1,
    )
    smtp_port: int = _setting(
        587, "Its port.", "The one for submission (RFC 6409).", ge=1, le=65_535
    )
    smtp_user: str | None = _setting(
        None, "Who logs in there.", "None: it takes mail from this machine without.", min_length=1
    )
    smtp_password: Secret = _setting(
        None, "Their password.", "There is no safe default for a secret.", min_length=1
    )
    smtp_from: str | None = _setting(
        None,
        "The address that alerts come from; needed with `CACHESERVER_SMTP_HOST`.",
        "A server that guesses one sends what nobody accepts.",
        pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$",
    )
    smtp_security: Literal["starttls", "tls", "none"] = _setting(
        "starttls",
        "How the connection is made safe; `none` is for a mail server on this machine.",
        "What port 587 speaks; a password never leaves in the clear.",
    )
    features_off: FeatureList = _setting(
        (),
        "Capabilities to switch off, with commas between: "
        f"{', '.join(f'`{name}`' for name in FEATURES)} "
        "([what each is](capabilities.md)).",
        "None is off: each does nothing until a tenant's settings or a request ask for it, or "
        "costs nothing that is not saved.",
        shown="none",
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "How much is logged. Prompts and answers never are.", "Starts, stops, failures."
    )
    log_format: Literal["text", "json"] = _setting(
        "text",
        "Lines of text, or of one JSON object each ([monitoring](monitoring.md#logs)).",
        "Text is for people; a collector of logs is set up by somebody who can set this too.",
    )
    access_log: Literal["auto", "on", "off"] = _setting(
        "auto",
        "Whether each request is a line of the log; `auto`: with `CACHESERVER_LOG_FORMAT=json`.",
        "Collected logs are expected to have them; a terminal would show nothing else.",
    )

    @field_validator(
        "data_dir", "admin_key_file", "model_dir", "prices",
        "redis_ca_file", "redis_cert_file", "redis_key_file",
        "encryption_key_file", "encryption_old_key_file",
    )  # fmt: skip
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        try:
            return value and value.expanduser()
        except RuntimeError:
            raise ValueError("names the home of a user there is not") from None

    @field_validator("upstream")
    @classmethod
    def _known_upstream(cls, value: str | None) -> str | None:
        if value in (None, "anthropic", "simulated"):
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be `anthropic`, `simulated` or an http(s) URL")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must be a plain URL: no credentials, query or fragment")
        return value.rstrip("/")

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, value: Secret) -> Secret:
        if value and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must begin with `redis://`, `rediss://` or `unix://`")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.default_ttl_s > self.max_ttl_s:
            raise ValueError("`CACHESERVER_DEFAULT_TTL_S` is above `CACHESERVER_MAX_TTL_S`")
        if self.admin_key is not None and self.admin_key_file is not None:
            raise ValueError("`CACHESERVER_ADMIN_KEY` and `CACHESERVER_ADMIN_KEY_FILE`: set one")
        files = (self.redis_ca_file, self.redis_cert_file, self.redis_key_file)
        speaks_tls = self.redis_url is not None and self.redis_url.get_secret_value().startswith(
            "rediss://"
        )
        if any(files) and not speaks_tls:
            raise ValueError(
                "`CACHESERVER_REDIS_CA_FILE`, `..._CERT_FILE` and `..._KEY_FILE` are for a "
                "`CACHESERVER_REDIS_URL` of rediss://"
            )
        if self.redis_key_file is not None and self.redis_cert_file is None:
            raise ValueError("`CACHESERVER_REDIS_KEY_FILE` needs `CACHESERVER_REDIS_CERT_FILE`")
        self._check_encryption()
        return self

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


def load(environ: Mapping[str, str] | None = None, *, file: Path | None = None) -> Settings:
    """Read the settings. `environ` is the process's own where absent.

    `file` goes before the one that `CACHESERVER_CONFIG` names. Raises `SettingsError` that names
    what is wrong, a line each, and shows no value.
    """
    environ = os.environ if environ is None else environ
    given = gather(environ, list(Settings.model_fields), file=file)
    if "data_dir" not in given and (home := environ.get("XDG_DATA_HOME")):
        given["data_dir"] = Path(home) / "cacheserver"
    key = environ.get("ANTHROPIC_API_KEY", "")
    if "anthropic_api_key" not in given and key and not key.startswith("cs_"):
        given["anthropic_api_key"] = key  # a key of ours there is for an application beside us
    try:
        return Settings(**given)
    except ValidationError as wrong:
        raise SettingsError("\n".join(map(_line, wrong.errors(include_input=False)))) from None


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
    """Who answers a miss. Raises `SettingsError` where Claude was meant and there is no key."""
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
        case url:
            return UpstreamChoice("url", url)


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


def masters(settings: Settings) -> MasterKeys | None:
    """The master keys, from wherever they come; None: nothing is to be encrypted.

    Blocks while a command runs. Raises `SettingsError` where one cannot be had.
    """
    from cacheserver.storage.sealing import master_key  # takes its time to load

    def one(name: str) -> MasterKey | None:
        file, command = (getattr(settings, f"{name}_{how}") for how in ("file", "command"))
        if file is not None:
            return master_key.from_file(file, setting=variable(f"{name}_file"))
        if command is not None:
            return master_key.from_command(command, setting=variable(f"{name}_command"))
        return None

    current = one("encryption_key")
    if current is None:
        return None
    old = one("encryption_old_key")
    if old is not None and old.id == current.id:
        raise SettingsError(
            f"`{variable('encryption_old_key_file')}`: it is the same key as the current one; "
            "make a new one for that (`openssl rand -hex 32`)"
        )
    return master_key.MasterKeys(current, old)


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
    rows = ["| setting | default | what it is | why this default |", "|---|---|---|---|"]
    for name, about in Settings.model_fields.items():
        extra = about.json_schema_extra
        assert isinstance(extra, dict)  # each is made by `_setting`
        default = extra.get("shown") or ("none" if about.default is None else f"`{about.default}`")
        rows.append(f"| `{variable(name)}` | {default} | {about.description} | {extra['why']} |")
    return "\n".join(rows) + "\n"


def _line(error: Any) -> str:
    """One of pydantic's errors with the variable in front; never the value, it may be a secret."""
    said = _text_of(error)
    return f"`{variable(str(error['loc'][0]))}`: {said}" if error["loc"] else said


def _text_of(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ")
