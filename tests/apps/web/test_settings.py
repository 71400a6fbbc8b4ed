from pathlib import Path

import pytest

from dgafvsr.apps.web.settings import ServerSettings, default_data_folder, is_loopback, is_wildcard
from dgafvsr.errors import UsageError


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host, local):
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("host", "all_addresses"),
    [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("192.168.1.5", False), ("localhost", False)],
)
def test_wildcard_is_told_from_addresses(host, all_addresses):
    assert is_wildcard(host) is all_addresses


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "studio.example.org"])
def test_others_are_let_in_by_password_only(host):
    with pytest.raises(UsageError, match=r"no password is set.*--password.*DGAFVSR_PASSWORD"):
        ServerSettings(host=host)
    assert ServerSettings(host=host, password="long enough").host == host


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "short"},
        {"port": 70000},
        {"port": -1},
        {"keep_days": 0},
        {"max_upload_bytes": 0},
        {"longest_queue": 0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        ServerSettings(**wrong)


def test_password_is_not_in_the_settings_text():
    assert "very secret" not in repr(ServerSettings(password="very secret"))


def test_data_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_folder() == tmp_path / "dgafvsr" / "web"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_data_folder() == Path.home() / ".cache" / "dgafvsr" / "web"
