"""Settings of the HTTP server, its logs, and what it has switched off."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from cacheserver.config.feature_list import FeatureList
from cacheserver.config.fields import Secret, setting
from cacheserver.config.origin_list import OriginList
from cacheserver.config.sizes import Bytes
from cacheserver.core.features import FEATURES
from cacheserver.core.types import LEAST_BODY_BYTES


class ServerSettings(BaseModel):
    """One value per setting; `Settings` has all of them."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. Anything but loopback needs a key (`cacheserver key create`).",
        "A server nobody has set up yet must not be reachable from a network.",
        min_length=1,
    )
    port: int = setting(
        8080, "Port to listen on; 0 takes a free one.", "The customary one.", ge=0, le=65_535
    )
    workers: int = setting(
        1,
        "Server processes behind the address, on one store ([when](scaling.md#several-workers)).",
        "One answers thousands of requests a second; each more takes as much memory again.",
        ge=1,
        le=64,
    )
    admin_key: Secret = setting(
        None,
        "The key for `/admin` and `/metrics`, at least 16 characters.",
        "Without it only named admin keys open both: there is no safe default for a secret.",
        min_length=16,
    )
    admin_key_file: Path | None = setting(
        None,
        "A file that holds the admin key, instead of `CACHESERVER_ADMIN_KEY`.",
        "An environment is easily shown by accident; a file with mode 0600 is not.",
    )
    max_body_bytes: Bytes = setting(
        32 * 1024**2,
        "The largest request body; `32MiB`, `512MB` and plain bytes are understood.",
        "Anthropic's own limit for Messages (32 MB).",
        live=True,
        live_least=LEAST_BODY_BYTES,
    )
    max_upload_bytes: Bytes = setting(
        550_000_000,
        "The largest body that is passed on as it comes, such as a file for Anthropic's Files API.",
        "Anthropic takes files of 500 MB; the rest is room for what is sent around one.",
        live=True,
        live_least=LEAST_BODY_BYTES,
    )
    max_audit_bytes: Bytes = setting(
        1_000_000_000,
        "The largest log that `POST /admin/v1/audits` takes, as it is sent: gzipped if it is.",
        "Two million requests of 5 kB, gzipped to a tenth. It must come within "
        "`CACHESERVER_BODY_TIMEOUT_S`: 1.7 MB a second.",
    )
    audit_days: int = setting(
        7,
        "Days that the report of an uploaded log is kept after its audit.",
        "Long enough to be read and saved; reports have words of prompts in them.",
        ge=1,
        le=3_650,
    )
    max_connections: int = setting(
        8_192,
        "Open connections at a time; fewer if the process may not open so many files.",
        "Some 25 kB each: 200 MB when all are taken, more than a hundred times what 64 calls need.",
        ge=1,
        le=1_000_000,
    )
    max_connections_per_address: int = setting(
        1_024,
        "Open connections from one address (IPv6: from one /64). Behind a proxy all have the "
        "proxy's address: set this to `CACHESERVER_MAX_CONNECTIONS` there.",
        "An eighth of all, so that no one caller takes the whole; SDKs open 100 to 1,000.",
        ge=1,
        le=1_000_000,
    )
    header_timeout_s: float = setting(
        10.0,
        "From a request's first byte to the end of its headers; then 408.",
        "Headers are one packet; a mobile network that loses it three times sends it within 10 s.",
        gt=0,
        le=3_600,
    )
    body_timeout_s: float = setting(
        600.0,
        "How long a request body may take; it must also come at 500 bytes a second or more. Else "
        "408.",
        "The Anthropic SDK waits no longer than that for its answer.",
        gt=0,
        le=86_400,
    )
    reader_timeout_s: float = setting(
        60.0,
        "How long an answer waits for a client that reads none of it.",
        "nginx's `send_timeout`; a program that stops reading for a minute has most likely gone.",
        gt=0,
        le=86_400,
    )
    cors_origins: OriginList = setting(
        (),
        "Web origins whose pages may ask `/v1/` from a browser, with commas between, such as "
        "`https://app.example.com`; never `*`, and never for `/admin` "
        "([browsers](running.md#browsers)).",
        "A key in a web page is known to all who open it: an operator decides on that.",
        shown="none",
    )
    features_off: FeatureList = setting(
        (),
        "Capabilities to switch off, with commas between: "
        f"{', '.join(f'`{name}`' for name in FEATURES)} "
        "([what each is](capabilities.md)).",
        "None is off: each does nothing until a tenant's settings or a request ask for it, or "
        "costs nothing that is not saved.",
        shown="none",
    )
    live_settings: Literal["follow", "ignore"] = setting(
        "follow",
        "Whether settings that admins changed through the API hold on this server; `ignore`: only "
        "those of its environment do.",
        "A changed setting must outlive a restart. `ignore` is the way out of one that does harm.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info",
        "The log level. Prompts and answers are never logged.",
        "Starts, stops, failures.",
        live=True,
    )
    log_format: Literal["text", "json"] = setting(
        "text",
        "The format of log lines: text, or one JSON object each "
        "([monitoring](monitoring.md#logs)).",
        "Text is for people; a collector of logs is set up by somebody who can set this too.",
    )
    access_log: Literal["auto", "on", "off"] = setting(
        "auto",
        "Whether each request is logged; `auto`: if `CACHESERVER_LOG_FORMAT=json`.",
        "Collected logs are expected to have them; a terminal would show nothing else.",
        live=True,
    )
