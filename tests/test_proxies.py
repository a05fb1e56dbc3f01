"""Proxies of the environment: this machine is reached directly, and unusable proxies are disabled and reported."""

import os

import httpx
import pytest
from narrowing import not_none

from gan.system.proxies import bypass_proxies, configure_proxies, faulty_proxies, faulty_proxy, is_loopback, proxy_for


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    """Remove all proxies, and restore the environment after the test."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "https_proxy", "HTTPS_PROXY"):
        for prefix in ("", "FASHION_GAN_UNUSED_"):
            monkeypatch.setenv(prefix + name, "restored")  # so that whatever becomes of it is undone
            monkeypatch.delenv(prefix + name)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.2", "server.localhost"])
def test_requests_to_this_machine_bypass_the_proxy(monkeypatch, host: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    configure_proxies()
    assert proxy_for(f"http://{host}:4200/api") is None
    assert str(proxy_for("http://elsewhere.invalid/api")) == "the proxy http://proxy.invalid:3128 (HTTP_PROXY)"


def test_the_environment_makes_all_http_clients_bypass_the_proxy(monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "internal.invalid")
    configure_proxies()
    bypass_proxies("127.0.0.7")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "internal.invalid,localhost,127.0.0.1,::1,127.0.0.7"
    with httpx.Client() as client:
        assert client._transport_for_url(httpx.URL("http://127.0.0.7")) is client._transport
        assert client._transport_for_url(httpx.URL("http://x.org")) is not client._transport


def test_without_a_proxy_no_variable_is_set() -> None:
    configure_proxies()
    assert "NO_PROXY" not in os.environ
    assert faulty_proxies() == []


@pytest.mark.parametrize(
    ("proxy", "fault"),
    [
        ("socks://127.0.0.1:7890/", "do not support the scheme socks://"),
        ("socks4://127.0.0.1:7890", "do not support the scheme socks4://"),
        ("ftp://proxy.invalid", "do not support the scheme ftp://"),
        ("http://proxy.invalid:port", "its host or port cannot be read"),
        ("http://[::1", "its host or port cannot be read"),
        ("http://", "its host or port cannot be read"),
        ("http://proxy.invalid:99999", "its host or port cannot be read"),
        ("http://\u2024:80", "its host or port cannot be read"),
    ],
)
def test_an_unusable_proxy_is_disabled_and_requests_that_need_it_are_refused(
    monkeypatch, proxy: str, fault: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    configure_proxies()
    httpx.Client().close()
    assert "ALL_PROXY" not in os.environ
    (found,) = faulty_proxies()
    assert fault in not_none(found.fault)
    assert found.variable == "ALL_PROXY"
    assert faulty_proxy("https://elsewhere.invalid") == found
    assert faulty_proxy("http://127.0.0.1:4200") is None
    configure_proxies()
    assert faulty_proxies() == [found], "a process that is started knows it too"


@pytest.mark.parametrize("proxy", ["http://p:1", "p:8080", "https://user:word@p", "socks5://p:1", "socks5h://p"])
def test_a_usable_proxy_stays(monkeypatch, proxy: str) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    configure_proxies()
    httpx.Client().close()
    assert os.getenv("all_proxy") == proxy  # noqa: SIM112
    assert faulty_proxies() == []


@pytest.mark.parametrize("entry", ["fd00::/8", "::1/128", "[::1]", "127.0.0.1:*", "é.invalid"])
def test_an_entry_of_no_proxy_that_httpx_cannot_parse_is_removed(monkeypatch, entry: str) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", f"one.invalid,{entry},10.0.0.0/8")
    configure_proxies()
    httpx.Client().close()
    assert os.environ["no_proxy"] == "one.invalid,10.0.0.0/8,localhost,127.0.0.1,::1"


def test_such_an_entry_is_removed_where_there_is_no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "one.invalid,::1/128")
    configure_proxies()
    httpx.Client().close()
    assert os.environ["NO_PROXY"] == "one.invalid"


def test_a_star_in_no_proxy_bypasses_the_proxy_for_all_hosts(monkeypatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "*")
    configure_proxies()
    assert os.environ["no_proxy"] == "*"
    assert proxy_for("https://elsewhere.invalid") is None


def test_a_password_is_not_shown(monkeypatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.invalid:3128")
    assert str(proxy_for("https://elsewhere.invalid")) == "the proxy http://proxy.invalid:3128 (https_proxy)"


@pytest.mark.parametrize("password", ["secret/x", "secret#x", "secret?x", "secret@/x"])
def test_a_password_that_makes_the_address_invalid_is_not_shown(monkeypatch, password: str) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:{password}@proxy.invalid:3128")
    configure_proxies()
    (found,) = faulty_proxies()
    assert "cret" not in f"{found} {found.fault}"
    assert "%2F" in not_none(found.fault)


@pytest.mark.parametrize(("faulty", "other"), [("HTTPS_PROXY", "ALL_PROXY"), ("https_proxy", "HTTPS_PROXY")])
def test_no_other_proxy_replaces_a_faulty_one(monkeypatch, faulty: str, other: str) -> None:
    monkeypatch.setenv(faulty, "socks4://one.invalid:1")
    monkeypatch.setenv(other, "http://other.invalid:1")
    configure_proxies()
    assert proxy_for("https://elsewhere.invalid") is None
    assert faulty_proxy("https://elsewhere.invalid").variable == faulty


def test_requests_and_botocore_bypass_the_proxy_for_this_machine(monkeypatch) -> None:
    import requests
    from botocore.utils import get_environ_proxies

    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    configure_proxies()
    for url in ("http://127.0.0.1:1/x", "http://localhost:1/x"):
        assert requests.utils.get_environ_proxies(url) == {}
        assert get_environ_proxies(url) == {}
    assert requests.utils.get_environ_proxies("http://elsewhere.invalid")["http"] == "http://proxy.invalid:3128"


def test_addresses_of_this_machine_are_recognized() -> None:
    here = ("localhost", "LOCALHOST.", "localhost.localdomain", "127.8.9.1", "::1", "a.localhost", "0.0.0.0", "127.1")
    assert all(map(is_loopback, (*here, "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("localhost.example.org", "10.0.0.1", "", "::2", "printer.localdomain")))
