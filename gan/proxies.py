"""Proxies of the environment: which one a request goes through, and which ones cannot work.

HTTP clients read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. Three things go wrong with
that. A server on this machine is asked through a proxy on another one. A proxy of an unknown kind stops a client from
being made at all, also where no request would go through it. And so does an entry of NO_PROXY that the client cannot
parse, such as a range of IPv6 addresses.
"""

import ipaddress
import os
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
KINDS = ("http", "https", "socks5", "socks5h")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PUT_ASIDE = "FASHION_GAN_UNUSED_"
"""How the name of a variable begins that holds a proxy which no client can use."""


@dataclass(frozen=True)
class Proxy:
    """A proxy that a variable of the environment names."""

    variable: str
    url: str  # may hold a password, or lack the scheme

    @property
    def scheme(self) -> str:
        """The scheme of the requests that go through it: http, https or all."""
        return self.variable.lower().removesuffix("_proxy")

    def __str__(self) -> str:
        """Return address and variable for people, without user and password."""
        scheme, separator, rest = self.url.rpartition("://")
        return f"the proxy {scheme}{separator}{rest.rpartition('@')[2]} ({self.variable})"

    @property
    def fault(self) -> str | None:
        """Why no client can use it; None if clients understand the address."""
        try:
            parts = urlsplit(self.url if "://" in self.url else f"http://{self.url}")  # as clients read it
            if parts.scheme not in KINDS:
                return f"HTTP clients know no proxy of the kind {parts.scheme}://, only {', '.join(KINDS)}"
            if not parts.hostname or parts.port == 0 or not self.url.isprintable():
                return "its address names no host and port"
        except ValueError as error:
            return f"its address is wrong ({error})"
        return None


def settle_proxies() -> None:
    """Except this machine from all proxies, and put aside what no client can use.

    A proxy that is put aside is known to this process and to those that it starts, and a request that needs it is
    refused (`faulty_proxy`): sent directly, it could be seen by somebody from whom the user wants to hide it.
    """
    for proxy in _proxies():
        if proxy.fault:
            os.environ[PUT_ASIDE + proxy.variable] = os.environ.pop(proxy.variable)
    for host in LOOPBACK:
        ask_directly(host)
    _remove_faulty_exceptions()


def faulty_proxies() -> list[Proxy]:
    """Return the proxies that were put aside."""
    return _proxies(PUT_ASIDE)


def ask_directly(host: str) -> None:
    """Except a host from all proxies, for this process and those that it starts.

    Args:
        host: A name or an address.
    """
    hosts = _exceptions()
    if _proxies() and "*" not in hosts and host not in hosts:  # without a proxy NO_PROXY hides a Mac's own settings
        _except([*hosts, host])


def is_loopback(host: str) -> bool:
    """Return whether a name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".localdomain"))


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that a request to `url` goes through; None if it goes through none."""
    return _named_for(url, _proxies())


def faulty_proxy(url: str) -> Proxy | None:
    """Return the proxy that a request to `url` needs and that cannot work; None if there is no such proxy."""
    return _named_for(url, faulty_proxies()) if proxy_for(url) is None else None


def _named_for(url: str, proxies: list[Proxy]) -> Proxy | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    by_scheme = {proxy.scheme: proxy for proxy in proxies}
    return by_scheme.get(parts.scheme) or by_scheme.get("all")


def _proxies(prefix: str = "") -> list[Proxy]:
    """All proxies that variables name; of two for one scheme the lower-case variable is last, and counts."""
    names = {name.removeprefix(prefix) for name in os.environ if name.startswith(prefix)}
    return [
        Proxy(name, os.environ[prefix + name])
        for name in sorted(names)
        if name.lower() in VARIABLES and os.environ[prefix + name]
    ]


def _exceptions() -> list[str]:
    given = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    return [entry.strip() for entry in given.split(",") if entry.strip()]


def _except(hosts: list[str]) -> None:
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def _remove_faulty_exceptions() -> None:
    """Remove entries of NO_PROXY with which httpx, of which Prefect's client is made, refuses to make a client."""
    if _proxies() and not _httpx_can_start():
        kept = []
        for entry in _exceptions():
            _except([entry])
            if _httpx_can_start():
                kept.append(entry)
        _except(kept)


def _httpx_can_start() -> bool:
    import httpx  # imported only where there is a proxy

    try:
        httpx.Client(verify=False).close()  # certificates are another matter
    except Exception:
        return False
    return True
