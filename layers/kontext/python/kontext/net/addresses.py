"""Which hosts a URL may lead to: the public internet, and nothing that only answers from inside a network.

A host is judged by its name (`check_url`, for links that Segmind is asked to follow) and by the addresses that
the name stands for at the moment of the connection (`public_addresses`, for links that we follow).
"""

import ipaddress
import re
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(
    r"https://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]*)?(?:[/?#][!-\[\]-~]*)?", re.IGNORECASE | re.ASCII
)
_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,62}")
_PRIVATE_NAMES = re.compile(
    r"(?:.*\.)?(?:localhost|localdomain|local|internal|intranet|private|corp|home|lan|home\.arpa"
    r"|localtest\.me|lvh\.me|vcap\.me|lacolhost\.com)"
)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
# Wildcard name services lead 10.0.0.1.x.example and 10-0-0-1.x.example to 10.0.0.1, some of them 0a000001 too.
_EMBEDDED = re.compile(r"(?<![0-9])([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})[.-]([0-9]{1,3})(?![0-9])")
_EMBEDDED_HEX = re.compile(r"(?:.*[.-])?([0-9a-f]{8})\.(?:nip|sslip|xip)\.io")

_CARRIERS = (  # of an IPv4 address: where in the 128 bits it stands
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.IPv6Network("::/96"), 0),  # compatible, of old
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
_OVERLAYS = ipaddress.IPv6Network("2001::/23")  # Teredo and the like: nobody's web server
_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_METADATA = ipaddress.IPv4Address("168.63.129.16")  # of Azure, in a public range; the others are link-local or shared


def check_url(url: str) -> None:
    """Raises ValueError, saying what is wrong, unless this is an https URL of a public host on the usual port.

    The message never repeats the URL, which may hold somebody's password or signature.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(_why_no_url(url))
    if match["port"] not in (None, ":443"):
        raise ValueError("must not name a port")
    host = match["host"].lower().removesuffix(".")
    if not (_is_public_number(host[1:-1], ipaddress.IPv6Address) if host.startswith("[") else _is_public_host(host)):
        raise ValueError("must lead to a public host: a private, local or reserved one is never asked for")


def _why_no_url(url: str) -> str:
    if re.match(r"https://[^/?#]*@", url, re.IGNORECASE):
        return "must not hold a user name or password"
    if not re.fullmatch(r"[!-\[\]-~]*", url):
        return "must be plain ASCII: write any other character, space or backslash as %XX"
    return "is not an https URL that can be read"


def _is_public_number(host: str, kind: type[Address]) -> bool:
    """Whether a host is a public address in the one form that every parser reads alike: 010 is ten to some, and eight
    to others."""
    try:
        return is_public(kind(host))
    except ValueError:
        return False


def _is_public_host(host: str) -> bool:
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _is_public_number(host, ipaddress.IPv4Address)
    return bool(_NAME.fullmatch(host)) and not _PRIVATE_NAMES.fullmatch(host) and not _hides_a_private_address(host)


def _hides_a_private_address(host: str) -> bool:
    numbers = [tuple(map(int, parts)) for parts in _EMBEDDED.findall(host)]
    hidden = [bytes(parts) for parts in numbers if max(parts) < 256]
    if in_hex := _EMBEDDED_HEX.fullmatch(host):
        hidden.append(bytes.fromhex(in_hex[1]))
    return not all(is_public(ipaddress.IPv4Address(address)) for address in hidden)


def is_public(address: Address) -> bool:
    """Whether an address is reached over the internet, and from everywhere alike.

    False for loopback, private, shared (100.64/10), link-local (metadata services), multicast, reserved and
    documentation addresses, and for IPv6 addresses that carry such an IPv4 address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _CARRIERS:
            if address in network:
                return is_public(ipaddress.IPv4Address(int(address) >> shift & 0xFFFF_FFFF))
        if address in _OVERLAYS:
            return False
    elif address in _SHARED or address == _METADATA:
        return False
    bad = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not bad


def public_addresses(host: str, port: int) -> list[str]:
    """The addresses that a host name or number stands for now.

    Raises:
        ValueError: one of them is not public; then none is to be trusted.
        OSError: the name is not known.
    """
    found = all_addresses(host, port)
    if not all(is_public(ipaddress.ip_address(address.partition("%")[0])) for address in found):
        raise ValueError(f"{host} leads to an address that is not public")
    return found


def all_addresses(host: str, port: int) -> list[str]:
    """The addresses that a host name or number stands for now, whatever they are. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except ValueError as problem:  # a label that is too long for DNS, or empty
        raise OSError("no name that can be looked up") from problem
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
