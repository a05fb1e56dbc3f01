"""HTTP proxies of the environment: the proxy of a request, and proxies that cannot work.

HTTP clients read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. Three problems are handled
here. Requests to a server on this machine would go through a proxy on another machine. A proxy with an unsupported
scheme makes it impossible to create a client, even if no request needs the proxy. So does an entry of NO_PROXY that the
client cannot parse, such as a range of IPv6 addresses.
"""

import ipaddress
import os
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
SCHEMES = ("http", "https", "socks5", "socks5h")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DISABLED_PREFIX = "FASHION_GAN_UNUSED_"
"""Prefix of the variables in which unusable proxies are kept."""


@dataclass(frozen=True)
class Proxy:
    """A proxy from a variable of the environment."""

    variable: str
    url: str  # may hold a password, and may lack the scheme

    def __str__(self) -> str:
        """Return the address without user and password, and the variable."""
        return f"the proxy {without_credentials(self.url)} ({self.variable})"

    @property
    def fault(self) -> str | None:
        """The reason why no client can use the proxy; None if clients accept its address."""
        url = self.url if "://" in self.url else f"http://{self.url}"  # the default of HTTP clients
        scheme = url.partition("://")[0].lower()
        if scheme not in SCHEMES:
            return f"HTTP clients do not support the scheme {scheme}://, only {', '.join(SCHEMES)}"
        try:
            parts = urlsplit(url)
            if parts.hostname and parts.port != 0 and url.isprintable() and _httpx_can_start(proxy=url):
                return None
        except ValueError:  # its message may quote the password
            pass
        return "its host or port cannot be read (in a password, write / as %2F, # as %23, ? as %3F and @ as %40)"


def configure_proxies() -> None:
    """Bypass all proxies for this machine, and disable proxies that no client can use.

    This process and its child processes remember a disabled proxy and refuse requests that need it (`faulty_proxy`).
    Sending such a request directly could reveal it to somebody from whom the user wants to hide it.
    """
    for proxy in _list_proxies():
        if proxy.fault:
            os.environ[DISABLED_PREFIX + proxy.variable] = os.environ.pop(proxy.variable)
    _remove_faulty_exceptions()
    for host in LOOPBACK:
        bypass_proxies(host)


def faulty_proxies() -> list[Proxy]:
    """Return the disabled proxies."""
    return _list_proxies(DISABLED_PREFIX)


def bypass_proxies(host: str) -> None:
    """Send requests to a host (a name or an address) directly, in this process and its child processes."""
    hosts = _list_exceptions()
    # without proxies nothing is set: on a Mac, NO_PROXY alone would hide the system's settings
    if _list_proxies() and "*" not in hosts and host not in hosts:
        _set_exceptions([*hosts, host])


def is_loopback(host: str) -> bool:
    """Return whether a name or an address belongs to this machine."""
    name = host.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", "localhost.localdomain", "127.1") or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)  # a request to 0.0.0.0 reaches this machine


def without_credentials(url: str) -> str:
    """Return an address without user and password."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy through which a request to `url` goes; None if it goes directly."""
    proxy = _find_proxy(url)
    return None if proxy is None or DISABLED_PREFIX + proxy.variable in os.environ else proxy


def faulty_proxy(url: str) -> Proxy | None:
    """Return the disabled proxy that a request to `url` needs; None if it needs none."""
    proxy = _find_proxy(url)
    return proxy if proxy and DISABLED_PREFIX + proxy.variable in os.environ else None


def _find_proxy(url: str) -> Proxy | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = sorted([*_list_proxies(), *faulty_proxies()], key=lambda proxy: proxy.variable)
    by_variable = {proxy.variable.lower(): proxy for proxy in proxies}  # lower-case variables take precedence
    return by_variable.get(f"{parts.scheme}_proxy") or by_variable.get("all_proxy")


def _list_proxies(prefix: str = "") -> list[Proxy]:
    names = {name.removeprefix(prefix) for name in os.environ if name.startswith(prefix)}
    return [
        Proxy(name, os.environ[prefix + name])
        for name in sorted(names)
        if name.lower() in VARIABLES and os.environ[prefix + name]
    ]


def _list_exceptions() -> list[str]:
    given = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    return [entry.strip() for entry in given.split(",") if entry.strip()]


def _set_exceptions(hosts: list[str]) -> None:
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def _remove_faulty_exceptions() -> None:
    """Remove entries of NO_PROXY with which httpx, the library of Prefect's client, refuses to create a client."""
    if not _list_exceptions() or _httpx_can_start():
        return
    kept = []
    for entry in _list_exceptions():
        _set_exceptions([entry])
        if _httpx_can_start():
            kept.append(entry)
    _set_exceptions(kept)


def _httpx_can_start(proxy: str | None = None) -> bool:
    """Return whether httpx creates a client, with this proxy or with the settings of the environment."""
    import httpx  # imported only where there is a proxy or an exception

    try:
        httpx.Client(proxy=proxy, trust_env=proxy is None, verify=False).close()  # certificates are checked elsewhere
    except Exception:
        return False
    return True
