"""Which URLs may be fetched: public addresses only, whatever a page, a redirect or a name server says.

A model picks the URLs, so every one is hostile until shown otherwise. A name is resolved once; every address it
has must be public; and the connection goes to the address that was checked, so that a second answer of the name
server (rebinding) is never asked for.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> textual addresses. Raises `OSError` where the name has none."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out for the internet (IANA); what lies outside is for something else, known or to come."""
_SPECIAL = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""For protocols (a cloud's metadata among them), a relay that is no more, and documentation: Python learned of them
in a later release than ours, or not yet."""
_OF_A_CLOUD = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Addresses from the public range under which a cloud (Azure) shows a machine its own host."""
_LOOKUPS = ThreadPoolExecutor(32, thread_name_prefix="resolve")
"""A name server can take half a minute to say nothing: names are not looked up in the threads that all share."""
_MAX_URL = 2000


class Refused(Exception):
    """The URL may not be fetched. The words may be shown to the model."""


@dataclass(frozen=True)
class Target:
    """A checked URL and the address to connect to."""

    url: httpx.URL
    address: str


async def resolve(host: str, port: int) -> list[str]:
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    infos = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, ask)
    return [str(info[4][0]) for info in infos]


@dataclass(frozen=True)
class Guard:
    resolve: Resolve = resolve
    ports: frozenset[int] = frozenset({80, 443})
    allowed: frozenset[str] = field(default_factory=frozenset)
    """`host:port` that may be fetched wherever they are: an operator's own mirror."""

    async def check(self, url: str) -> Target:
        """Raises `Refused`."""
        parsed = _parse(url)
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        exempt = f"{parsed.host}:{port}" in self.allowed
        if not exempt and port not in self.ports:
            raise Refused(f"port {port} is not allowed")
        try:
            addresses = [ipaddress.ip_address(a.split("%")[0]) for a in await self.resolve(parsed.host, port)]
        except (OSError, UnicodeError, ValueError) as e:
            raise Refused(f"the host {parsed.host[:100]!r} cannot be found ({type(e).__name__})") from None
        if not addresses:
            raise Refused(f"the host {parsed.host[:100]!r} has no address")
        if not exempt and not all(map(is_public, addresses)):
            raise Refused(f"the host {parsed.host[:100]!r} is not on the public internet")
        return Target(parsed, str(addresses[0]))


def is_public(address: Address) -> bool:
    """Whether packets to it leave for the internet, what is wrapped inside unwrapped first."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and int(address) >> 32 == 0:  # the old IPv4-compatible form
            return False
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    elif address in _OF_A_CLOUD:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _parse(url: str) -> httpx.URL:
    if len(url) > _MAX_URL:
        raise Refused(f"the URL is longer than {_MAX_URL} characters")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise Refused("that is not a URL") from None
    if parsed.scheme not in ("http", "https"):
        raise Refused("only http and https URLs can be read")
    if parsed.userinfo:
        raise Refused("URLs with a user name or password are not read")
    if not parsed.host:
        raise Refused("the URL has no host")
    return parsed.copy_with(fragment=None)
