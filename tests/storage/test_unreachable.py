"""What is said of a Redis that cannot be used: a real server, real TLS, and no password shown."""

from __future__ import annotations

import contextlib
import gc
import socket
import socketserver
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.embedded.process import find_server
from cacheserver.storage import redis_url
from cacheserver.storage.connection import check_reachable, check_server, connect
from cacheserver.storage.redis_url import Tls
from tests.redis_servers import serving

# asyncio of Python 3.11 leaves the transport of a failed TLS handshake to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

PASSWORD = "s3cret"
# The rule of docs/running.md.
ACL = f"user app on >{PASSWORD} ~cs1:* +@all -@dangerous -@admin +info"


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Collect what these tests leave, so that no later test is warned of it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@dataclass(frozen=True)
class Guarded:
    """A server that wants a name, a password, TLS and a client certificate."""

    port: int  # TLS
    plain_port: int
    folder: Path  # ca.pem, client.pem, client.key, stranger.pem

    def url(self, *, user: str = f"app:{PASSWORD}@", host: str = "localhost", db: str = "0") -> str:
        return f"rediss://{user}{host}:{self.port}/{db}"

    @property
    def tls(self) -> Tls:
        return Tls(*(self.folder / name for name in ("ca.pem", "client.pem", "client.key")))


class _Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True
    path = ""
    context: ssl.SSLContext | None = None


class _Line(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Relay)
        caller: socket.socket = self.request
        if self.server.context is not None:
            caller = tls = self.server.context.wrap_socket(
                caller, server_side=True, do_handshake_on_connect=False
            )
            try:
                tls.do_handshake()
            except OSError:  # the client was told by an alert, and is to read it
                with tls, contextlib.suppress(OSError):
                    tls.shutdown(socket.SHUT_WR)
                    while tls.recv(65_536):
                        pass
                return
        with socket.socket(socket.AF_UNIX) as there, caller:
            there.connect(self.server.path)
            back = threading.Thread(target=pump, args=(there, caller))
            back.start()
            pump(caller, there)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relay(path: str, context: ssl.SSLContext | None) -> Iterator[int]:
    """Take TCP, or TLS, to a server's socket; yields the port. Not all Valkeys speak TLS."""
    with _Relay(("127.0.0.1", 0), _Line) as server:
        server.path, server.context = path, context
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server = authority.issue_cert("localhost")
    server.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    client = authority.issue_cert("app@example.com")
    client.private_key_pem.write_to_path(str(folder / "client.key"))
    client.cert_chain_pems[0].write_to_path(str(folder / "client.pem"))
    stranger = trustme.CA().issue_cert("app@example.com")
    stranger.private_key_and_cert_chain_pem.write_to_path(str(folder / "stranger.pem"))
    return folder


@pytest.fixture(scope="module")
def acl_server() -> Iterator[str]:
    with serving(find_server(), "user default off", ACL) as url:
        yield url.removeprefix("unix://")


@pytest.fixture(scope="module")
def guarded(acl_server: str, certificates: Path) -> Iterator[Guarded]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with relay(acl_server, context) as port, relay(acl_server, None) as plain_port:
        yield Guarded(port, plain_port, certificates)


async def said(url: str, tls: Tls | None = None) -> str:
    """What is said of a Redis that cannot be used."""
    client = connect(url, tls=tls, timeout_s=1)
    with pytest.raises((SettingsError, StoreError)) as caught:
        await check_reachable(client, url)
    await client.aclose()
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


async def test_a_server_with_tls_client_certificates_and_acl_is_used(guarded: Guarded) -> None:
    client = connect(guarded.url(), tls=guarded.tls)
    await check_reachable(client, guarded.url())
    await check_server(client)
    await client.aclose()


@pytest.mark.parametrize(
    ("tls", "setting", "reason"),
    [
        ((None, None, None), "REDIS_CA_FILE", "has no trusted signer"),
        (("ca.pem", None, None), "REDIS_CERT_FILE", "client certificate"),
        (("ca.pem", "stranger.pem", None), "REDIS_CERT_FILE", "client certificate"),
    ],
)
async def test_a_certificate_that_is_missing_or_strange_is_told_by_its_setting(
    guarded: Guarded, tls: tuple[str | None, ...], setting: str, reason: str
) -> None:
    files = Tls(*(name and guarded.folder / name for name in tls))  # type: ignore[arg-type]
    told = await said(guarded.url(), files)
    assert f"Redis at rediss://localhost:{guarded.port}/0" in told
    assert f"`CACHESERVER_{setting}`" in told  # first, but where a reset came before the alert
    assert reason in told


@pytest.mark.parametrize(
    ("user", "db", "reason"),
    [
        ("app:wrong@", "0", "the user's name or the password is wrong"),
        ("nobody:wrong@", "0", "the user's name or the password is wrong"),
        ("", "0", "asks for a password, and the URL has none"),
        (f"app:{PASSWORD}@", "99", "no database of this number"),
    ],
)
async def test_a_wrong_password_or_database_is_told(
    guarded: Guarded, user: str, db: str, reason: str
) -> None:
    told = await said(guarded.url(user=user, db=db), guarded.tls)
    assert told.startswith(f"`CACHESERVER_REDIS_URL`: Redis at rediss://localhost:{guarded.port}")
    assert reason in told


async def test_a_certificate_for_another_host_is_told(guarded: Guarded) -> None:
    assert "another host name" in await said(guarded.url(host="127.0.0.1"), guarded.tls)


async def test_plain_words_to_a_tls_port_and_the_reverse_are_told(guarded: Guarded) -> None:
    plain = f"redis://app:{PASSWORD}@localhost:{guarded.port}/0"
    assert "if that port speaks TLS, use rediss://" in await said(plain)
    tls = f"rediss://app:{PASSWORD}@localhost:{guarded.plain_port}/0"
    assert "does not speak TLS" in await said(tls, guarded.tls)


async def test_a_password_that_the_server_has_not_is_told() -> None:
    with serving(find_server()) as url:
        told = await said(url.replace("unix://", f"unix://:{PASSWORD}@"))
    assert "the server has none" in told


async def test_an_acl_that_forbids_what_is_needed_is_told() -> None:
    with serving(find_server(), "user default off", f"user app on >{PASSWORD} ~* +get") as url:
        told = await said(url.replace("unix://", f"unix://app:{PASSWORD}@"))
    assert "ACL" in told


async def test_who_is_not_there_is_told_and_may_yet_come(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # which answers nobody
        port = listener.getsockname()[1]
        silent = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
        told = await said(silent)
    assert f"redis://127.0.0.1:{port}/0 cannot be used: it did not answer in time" in told
    for url, reason in (
        (silent, "nothing listens there"),
        (f"redis://:{PASSWORD}@nowhere.invalid:6379", "there is no host of this name"),
        (f"unix://:{PASSWORD}@{tmp_path}/no.sock", f"{tmp_path}/no.sock cannot be used"),
    ):
        client = connect(url, timeout_s=1)
        with pytest.raises(StoreError, match=reason):
            await check_reachable(client, url)
        await client.aclose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost", "use redis://"),
        ("redis://localhost/0?timeuot=5", "no parameter `timeuot`"),
        ("redis://localhost/0?client_nam=x", "did you mean `client_name`"),
        ("redis://localhost/0?protocol=3", "no parameter `protocol`"),  # ours to choose
        ("redis://localhost/0?ssl_ca_certs=x", "for rediss://"),
        ("redis://localhost/zero", "must be a number"),  # redis-py would take 0
        ("redis://localhost/0?db=one", "must be a number"),
        (f"redis://:{PASSWORD}/x@localhost:6379/0", "%2F"),  # redis-py would show a part of it
        (f"redis://:{PASSWORD}#x@localhost:6379/0", "%23"),
        ("redis://localhost:99999", "65535"),
        ("unix://", "path of a socket"),
    ],
)
def test_a_url_that_does_not_say_what_it_seems_to_is_refused(url: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connect(url)
    assert str(caught.value).startswith("`CACHESERVER_REDIS_URL`: ")
    assert reason in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_files_that_will_not_do_are_told_by_their_setting(certificates: Path) -> None:
    missing, key = certificates / "missing.pem", certificates / "client.key"
    client = certificates / "client.pem"
    for tls, setting in (
        (Tls(ca_file=missing), "CA"),
        (Tls(ca_file=key), "CA"),
        (Tls(cert_file=missing, key_file=key), "CERT"),
        (Tls(cert_file=client, key_file=missing), "KEY"),
        (Tls(cert_file=client, key_file=certificates / "stranger.pem"), "CERT"),
        (Tls(cert_file=client), "CERT"),
    ):
        with pytest.raises(SettingsError, match=f"`CACHESERVER_REDIS_{setting}_FILE`: /"):
            redis_url.tls_arguments(tls)
