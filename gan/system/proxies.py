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
"""Prefix under which an unusable proxy is kept in the environment."""


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
        return f"the proxy {without_credentials(self.url)} ({self.variable})"

    @property
    def fault(self) -> str | None:
        """Why no client can use it; None if clients understand the address."""
        url = self.url if "://" in self.url else f"http://{self.url}"  # as clients read it
        kind = url.partition("://")[0].lower()
        if kind not in KINDS:
            return f"HTTP clients know no proxy of the kind {kind}://, only {', '.join(KINDS)}"
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and parts.port != 0 and url.isprintable() and _httpx_can_start(proxy=url)
        except ValueError:  # its message may quote the password
            usable = False
        if usable:
            return None
        return "its host or port cannot be read (in a password, write / as %2F, # as %23, ? as %3F and @ as %40)"


def configure_proxies() -> None:
    """Except this machine from all proxies, and put aside what no client can use.

    A proxy that is put aside is known to this process and to those that it starts, and a request that needs it is
    refused (`faulty_proxy`): sent directly, it could be seen by somebody from whom the user wants to hide it.
    """
    for proxy in _proxies():
        if proxy.fault:
            os.environ[PUT_ASIDE + proxy.variable] = os.environ.pop(proxy.variable)
    if _proxies():
        _remove_faulty_exceptions()
    for host in LOOPBACK:
        ask_directly(host)


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
    name = host.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", "localhost.localdomain", "127.1") or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)  # 0.0.0.0 as an address to ask is this machine


def without_credentials(url: str) -> str:
    """Return an address without user and password, for people."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy that a request to `url` goes through; None if it goes through none."""
    proxy = _named_for(url)
    return None if proxy is None or PUT_ASIDE + proxy.variable in os.environ else proxy


def faulty_proxy(url: str) -> Proxy | None:
    """Return the proxy that a request to `url` needs and that cannot work; None if there is no such proxy."""
    proxy = _named_for(url)
    return proxy if proxy and PUT_ASIDE + proxy.variable in os.environ else None


def _named_for(url: str) -> Proxy | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    every = sorted([*_proxies(), *faulty_proxies()], key=lambda proxy: proxy.variable)  # the lower-case variable counts
    by_scheme = {proxy.scheme: proxy for proxy in every}
    return by_scheme.get(parts.scheme) or by_scheme.get("all")


def _proxies(prefix: str = "") -> list[Proxy]:
    """All proxies that variables with a prefix name."""
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
    if _httpx_can_start():
        return
    kept = []
    for entry in _exceptions():
        _except([entry])
        if _httpx_can_start():
            kept.append(entry)
    _except(kept)


def _httpx_can_start(proxy: str | None = None) -> bool:
    """Whether httpx makes a client: with this proxy, or else with all that the environment says."""
    import httpx  # imported only where there is a proxy

    try:
        httpx.Client(proxy=proxy, trust_env=proxy is None, verify=False).close()  # certificates are another matter
    except Exception:
        return False
    return True
