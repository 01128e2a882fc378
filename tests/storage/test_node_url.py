"""URLs of Sentinels and clusters: what is read, and what is refused without naming a secret."""

from __future__ import annotations

import pytest

from cacheserver.core.errors import SettingsError
from cacheserver.storage import node_url
from cacheserver.storage.redis_url import check_url, describe_url


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    found = node_url.parse("redis+cluster://app:p%40ss@one:7001,[::1]:7002,three")
    assert (found.kind, found.tls, found.database) == ("cluster", False, "0")
    assert found.hosts == (("one", 7001), ("::1", 7002), ("three", 6379))
    assert found.server_url(("::1", 7002)) == "redis://app:p%40ss@[::1]:7002/0"
    assert found.describe() == "redis+cluster://one:7001,[::1]:7002,three:6379"


def test_sentinels_have_a_service_a_database_and_credentials_of_their_own() -> None:
    found = node_url.parse(
        "rediss+sentinel://app:secret@a,b:5000/main/3"
        "?sentinel_password=an%2Fother&ssl_check_hostname=false&client_name=x"
    )
    assert (found.kind, found.tls, found.service, found.database) == ("sentinel", True, "main", "3")
    assert found.hosts == (("a", 26379), ("b", 5000))
    server = found.server_url(("10.0.0.7", 6379))
    assert server == ("rediss://app:secret@10.0.0.7:6379/3?ssl_check_hostname=false&client_name=x")
    asked = found.voter_url(("a", 26379))
    assert asked == "rediss://:an%2Fother@a:26379/0?ssl_check_hostname=false"
    assert "secret" not in repr(found)
    assert describe_url("rediss+sentinel://app:secret@a/main") == (
        "rediss+sentinel://a:26379/main/0"
    )


def test_sentinels_without_credentials_are_asked_without_those_of_the_store() -> None:
    found = node_url.parse("redis+sentinel://app:secret@a/main")
    assert found.voter_url(("a", 26379)) == "redis://a:26379/0"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+sentinel://a:1,b:2", "lacks the service"),
        ("redis+sentinel:///main", "hosts cannot be read"),
        ("redis+sentinel://a/main/x", "must be a number"),
        ("redis+sentinel://a/main?db=1", "`db` is not read here"),
        ("redis+cluster://", "hosts cannot be read"),
        ("redis+cluster://a:1,", "hosts cannot be read"),
        ("redis+cluster://a:1,,b:2", "hosts cannot be read"),
        ("redis+cluster://a:port", "hosts cannot be read"),
        ("redis+cluster://a:70000", "hosts cannot be read"),
        ("redis+cluster://u:sec@ret@a:x", "hosts cannot be read"),
        ("redis+cluster://u:sec/ret@a:1", "hosts cannot be read"),
        ("redis+cluster://u:sec#ret@a:1", "must not contain `#`"),
        ("redis+cluster://a:1,a:1", "names a host twice"),
        ("redis+cluster://a/1", "only the database 0"),
        ("redis+cluster://a?sentinel_password=secret", "is for redis\\+sentinel"),
        ("redis+cluster://a?client_nam=x", "did you mean `client_name`"),
        ("redis+cluster://a?db=0", "`db` is not read here"),
        ("redis+cluster://a?ssl_ca_certs=x", "is for rediss://"),
        ("redis+clusters://a", "use redis://"),
    ],
)
def test_a_url_that_would_be_misread_is_refused(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        check_url(url)
    for secret in ("sec", "ret@", "secret"):
        assert secret not in str(caught.value)
