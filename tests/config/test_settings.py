"""Settings: where they come from, what is refused, and that their page is up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cacheserver.cli import SETTINGS_PAGE
from cacheserver.config import settings as config
from cacheserver.config.settings import Settings, UpstreamChoice, hint, load, resolve_upstream
from cacheserver.core.errors import SettingsError

SECRET = "sk-ant-very-secret-0123456789"


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    settings = load({})
    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.default_ttl_s, settings.max_ttl_s) == (3_600, 2_592_000)
    assert settings.max_body_bytes == 32 * 1024 * 1024


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "cacheserver.toml"
    file.write_text('port = 9000\nhost = "::1"\nsimilarity = 0.9\n')
    settings = load({"CACHESERVER_PORT": "9001"}, file=file)
    assert (settings.port, settings.host, settings.similarity) == (9001, "::1", 0.9)


def test_a_file_is_read_where_it_is_named_and_the_command_line_goes_first(tmp_path: Path) -> None:
    one, other = tmp_path / "cacheserver.toml", tmp_path / "other.toml"
    one.write_text("port = 1")
    other.write_text("port = 2")
    assert load({"CACHESERVER_CONFIG": str(other)}).port == 2
    assert load({"CACHESERVER_CONFIG": str(other)}, file=one).port == 1


def test_no_file_is_read_because_it_lies_there_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that somebody else writes to must not say where the key for Claude goes."""
    monkeypatch.chdir(tmp_path)
    assert hint({}) is None
    file = tmp_path / "cacheserver.toml"
    file.write_text('upstream = "https://evil.example"\nprot = 1')
    assert load({}) == Settings()
    said = hint({})
    assert said is not None
    assert str(file) in said
    assert "--config" in said
    assert "evil" not in said
    assert hint({}, file=file) is None
    assert hint({"CACHESERVER_CONFIG": str(file)}) is None


def test_what_is_set_to_nothing_is_not_set(tmp_path: Path) -> None:
    assert load({"CACHESERVER_PORT": "", "CACHESERVER_REDIS_URL": ""}).port == 8080


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CACHESERVER_PORT", "http"),
        ("CACHESERVER_PORT", "65536"),
        ("CACHESERVER_SIMILARITY", "0"),
        ("CACHESERVER_SIMILARITY", "1.01"),
        ("CACHESERVER_SIMILARITY", "nan"),
        ("CACHESERVER_TOP_K", "0"),
        ("CACHESERVER_DEFAULT_TTL_S", "-1"),
        ("CACHESERVER_DEFAULT_TTL_S", "1h"),
        ("CACHESERVER_MAX_TTL_S", "3599"),
        ("CACHESERVER_MAX_BYTES", "512 parsecs"),
        ("CACHESERVER_MAX_BYTES", "0"),
        ("CACHESERVER_MAX_BODY_BYTES", "unlimited"),
        ("CACHESERVER_TIMEOUT_S", "inf"),
        ("CACHESERVER_MAX_CONCURRENT", "0"),
        ("CACHESERVER_CREDENTIALS", "both"),
        ("CACHESERVER_LOG_LEVEL", "loud"),
        ("CACHESERVER_UPSTREAM", "claude"),
        ("CACHESERVER_UPSTREAM", "ftp://x"),
        ("CACHESERVER_UPSTREAM", "https://user:pass@x"),
        ("CACHESERVER_UPSTREAM", "https://x/?key=y"),
        ("CACHESERVER_UPSTREAM", "http://[x"),
        ("CACHESERVER_UPSTREAM", "http://localhost:8o80"),
        ("CACHESERVER_EMBEDDER", "http://localhost:99999"),
        ("CACHESERVER_EMBEDDER", "http://localhost:0"),
        ("CACHESERVER_REDIS_URL", "localhost:6379"),
        ("CACHESERVER_REDIS_PREFIX", "{a}b"),
        ("CACHESERVER_ADMIN_KEY", "short"),
    ],
)
def test_a_wrong_value_is_refused_under_the_name_of_the_setting(
    tmp_path: Path, variable: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=variable):
        load({variable: value})


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        load({"CACHESERVER_PORT": "x", "CACHESERVER_TOP_K": "y"})
    lines = str(refused.value).splitlines()
    assert [line.split("`")[1] for line in lines] == ["CACHESERVER_PORT", "CACHESERVER_TOP_K"]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("CACHESERVER_PROT", "did you mean `CACHESERVER_PORT`"),
        ("CACHESERVER_REDISURL", "did you mean `CACHESERVER_REDIS_URL`"),
        ("CACHESERVER_XYZZY_QQ", "`cacheserver settings` lists them"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    tmp_path: Path, variable: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load({variable: "1"})
    assert variable in str(refused.value)
    assert hint in str(refused.value)


def test_a_misspelt_key_of_the_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    file = tmp_path / "cacheserver.toml"
    file.write_text("prot = 1")
    with pytest.raises(SettingsError, match=r"`prot` in .*did you mean `port`"):
        load({}, file=file)


@pytest.mark.parametrize("text", ["port = ", "\udcff"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cacheserver.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match="CACHESERVER_CONFIG"):
        load({}, file=file)


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="CACHESERVER_CONFIG"):
        load({"CACHESERVER_CONFIG": str(tmp_path / "none.toml")})


def test_variables_that_are_not_the_servers_are_left_alone(tmp_path: Path) -> None:
    others = {
        "CACHESERVER_URL": "http://localhost:8080",  # the client's
        "CACHESERVER_API_KEY": "cs_x",
        "CACHESERVER_SERVICE_HOST": "10.0.0.1",  # what Kubernetes adds beside such a service
        "CACHESERVER_SERVICE_PORT_HTTP": "80",
        "CACHESERVER_PORT": "tcp://10.0.0.1:80",
        "CACHESERVER_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(others) == Settings()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("512MB", 512_000_000),
        ("512 mb", 512_000_000),
        ("1GiB", 2**30),
        ("7KB", 7_000),
        ("7kib", 7 * 1024),
        ("2TB", 2 * 10**12),
        ("99B", 99),
    ],
)
def test_sizes_are_written_as_people_write_them(tmp_path: Path, text: str, size: int) -> None:
    given = {"CACHESERVER_MAX_BYTES": text, "CACHESERVER_MAX_BODY_BYTES": text}
    settings = load(given)
    assert (settings.max_bytes, settings.max_body_bytes) == (size, size)


def test_answers_may_take_unlimited_room(tmp_path: Path) -> None:
    assert load({"CACHESERVER_MAX_BYTES": "Unlimited"}).max_bytes is None


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    given = {
        "CACHESERVER_ADMIN_KEY": SECRET,
        "CACHESERVER_ANTHROPIC_API_KEY": SECRET,
        "CACHESERVER_REDIS_URL": f"redis://:{SECRET}@localhost",
    }
    settings = load(given)
    told = (
        repr(settings) + str(settings) + repr(config.shown(settings)) + settings.model_dump_json()
    )
    assert SECRET not in told
    assert config.shown(settings)["CACHESERVER_ADMIN_KEY"] == "(set)"
    for variable in given:
        with pytest.raises(SettingsError) as refused:
            load({**given, variable: SECRET[:3], "CACHESERVER_PORT": SECRET})
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, None),
        ({"ANTHROPIC_API_KEY": "usual"}, "usual"),
        ({"ANTHROPIC_API_KEY": "usual", "CACHESERVER_ANTHROPIC_API_KEY": "ours"}, "ours"),
        ({"ANTHROPIC_API_KEY": ""}, None),
        ({"ANTHROPIC_API_KEY": "cs_a_key_of_ours"}, None),
    ],
)
def test_the_key_for_claude_is_ours_else_the_usual_one(
    tmp_path: Path, environ: dict[str, str], key: str | None
) -> None:
    found = load(environ).anthropic_api_key
    assert (found and found.get_secret_value()) == key


def test_no_other_variable_of_the_application_is_read(tmp_path: Path) -> None:
    loud = {"ANTHROPIC_BASE_URL": "http://localhost:8080", "ANTHROPIC_AUTH_TOKEN": SECRET}
    assert load(loud) == Settings()


KEY = SecretStr("sk-ant-x")
CLAUDE = UpstreamChoice("anthropic", "https://api.anthropic.com")


@pytest.mark.parametrize(
    ("settings", "choice"),
    [
        (Settings(anthropic_api_key=KEY), CLAUDE),
        (Settings(anthropic_api_key=KEY, upstream="anthropic"), CLAUDE),
        (Settings(credentials="caller"), CLAUDE),
        (Settings(upstream="simulated"), UpstreamChoice("simulated", None)),
        (Settings(upstream="simulated", anthropic_api_key=KEY), UpstreamChoice("simulated", None)),
        (Settings(upstream="http://h:1/a/"), UpstreamChoice("url", "http://h:1/a")),
    ],
)
def test_who_answers_a_miss(settings: Settings, choice: UpstreamChoice) -> None:
    assert resolve_upstream(settings) == choice


@pytest.mark.parametrize("settings", [Settings(), Settings(upstream="anthropic")])
def test_without_a_key_for_claude_nothing_is_made_up(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="CACHESERVER_UPSTREAM=simulated"):
        resolve_upstream(settings)


def test_the_admin_key_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "admin.key"
    path.write_text(f"{SECRET}\n")
    assert config.admin_key(Settings(admin_key_file=path)) == SECRET
    assert config.admin_key(Settings(admin_key=SecretStr(SECRET))) == SECRET
    assert config.admin_key(Settings()) is None
    path.write_text("short\n")
    for wrong in (path, tmp_path / "none", tmp_path):
        with pytest.raises(SettingsError, match="CACHESERVER_ADMIN_KEY_FILE"):
            config.admin_key(Settings(admin_key_file=wrong))


def test_two_admin_keys_are_one_too_many(tmp_path: Path) -> None:
    given = {"CACHESERVER_ADMIN_KEY": SECRET, "CACHESERVER_ADMIN_KEY_FILE": "x"}
    with pytest.raises(SettingsError, match="CACHESERVER_ADMIN_KEY_FILE"):
        load(given)


def test_the_data_directory_follows_the_desktops_rules(tmp_path: Path) -> None:
    assert load({"XDG_DATA_HOME": "/x"}).data_dir == Path("/x/cacheserver")
    given = {"XDG_DATA_HOME": "/x", "CACHESERVER_DATA_DIR": "~/y"}
    assert load(given).data_dir == Path.home() / "y"


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=8)))
def test_any_text_is_a_setting_or_refused_by_name(given: dict[str, str]) -> None:
    environ = {f"CACHESERVER_{name.upper()}": value for name, value in given.items()}
    try:
        load(environ)
    except SettingsError as refused:
        told = str(refused)
    else:
        told = " ".join(["CACHESERVER_", *environ])
    assert "CACHESERVER_" in told


def test_every_setting_says_what_it_is_and_why_it_is_so() -> None:
    table = config.settings_table().splitlines()
    assert len(table) == len(Settings.model_fields) + 2
    assert all(cell.strip() for row in table for cell in row.strip("|").split("|"))


def test_the_page_of_settings_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs/settings.md"
    made = SETTINGS_PAGE + config.settings_table()
    assert page.read_text() == made, "cacheserver settings --markdown > docs/settings.md"


@pytest.mark.parametrize("given", ["batches, lint,", ["batches", "lint"]])
def test_features_are_listed_with_commas_or_as_a_list(tmp_path: Path, given: Any) -> None:
    chosen = Settings(data_dir=tmp_path, features_off=given)
    assert chosen.features_off == ("batches", "lint")
    assert config.shown(chosen)["CACHESERVER_FEATURES_OFF"] == "batches,lint"


def test_a_feature_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"CACHESERVER_FEATURES_OFF.*did you mean `batches`"):
        load({"CACHESERVER_FEATURES_OFF": "batch"})
