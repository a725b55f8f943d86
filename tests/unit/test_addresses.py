"""Which hosts are public, by name and by number."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kontext.net import addresses

OCTETS = st.integers(0, 255)
BYTES = st.tuples(OCTETS, OCTETS, OCTETS, OCTETS)
PRIVATE = st.sampled_from(
    ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8"]
)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "168.63.129.16", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1", "203.0.113.9",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "::127.0.0.1",
        "64:ff9b::a00:1", "2001:0:1::", "2001:db8::1", "2002:a00:1::", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1",
    ],
)  # fmt: skip
def test_what_answers_only_inside_a_network_is_not_public(address: str) -> None:
    assert not addresses.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "52.1.2.3",
        "100.128.0.1",
        "172.32.0.1",
        "2606:4700::1",
        "2a00::1",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_the_rest_of_the_internet_is_public(address: str) -> None:
    assert addresses.is_public(ipaddress.ip_address(address))


@given(BYTES, st.sampled_from(["d", "o", "x"]), st.integers(1, 4))
def test_a_number_is_allowed_in_the_one_form_that_all_read_alike(
    octets: tuple[int, ...], base: str, parts: int
) -> None:
    whole = int.from_bytes(bytes(octets))
    numbers = [*octets[: parts - 1], whole % 256 ** (5 - parts)]
    host = ".".join({"d": f"{n}", "o": f"0{n:o}", "x": f"0x{n:x}"}[base] for n in numbers)

    meant = ipaddress.IPv4Address(socket.inet_aton(host))
    assert allowed(host) == (addresses.is_public(meant) and host == str(meant))


@given(st.text("0123456789abcdefx.", max_size=20))
def test_what_the_system_reads_as_a_number_is_never_taken_for_a_name(host: str) -> None:
    try:
        meant = ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return

    assert allowed(host) == (addresses.is_public(meant) and host == str(meant))


@given(
    PRIVATE, st.integers(0, 2**16 - 1), st.sampled_from(["{}", "{}.", "{}.nip.io", "a.{}.x.example", "{}-b.example"])
)
def test_no_private_address_passes_whatever_surrounds_it(network: str, nth: int, form: str) -> None:
    address = ipaddress.IPv4Network(network)[nth % 2**16]

    assert not allowed(form.format(address))
    assert not allowed(form.format(str(address).replace(".", "-")))
    assert not allowed(f"[::ffff:{address}]")


@given(st.text(max_size=40) | st.text("https:/@.[]0123456789x?#\\", max_size=40).map("https://{}".format))
def test_any_text_is_an_allowed_url_or_refused_in_words_that_do_not_repeat_it(url: str) -> None:
    refusal = refused(url)

    if refusal is not None:
        assert len(url) < 12 or url not in refusal
    else:
        assert url.lower().startswith("https://")
        assert url.isascii()
        assert "@" not in url.split("/")[2].partition("?")[0].partition("#")[0]


def test_a_name_is_public_only_if_all_its_addresses_are() -> None:
    assert addresses.all_addresses("127.0.0.1", 80) == ["127.0.0.1"]
    assert addresses.public_addresses("1.1.1.1", 443) == ["1.1.1.1"]
    with pytest.raises(ValueError, match="not public"):
        addresses.public_addresses("localhost", 443)


def allowed(host: str) -> bool:
    return refused(f"https://{host}/a.png") is None


def refused(url: str) -> str | None:
    try:
        addresses.check_url(url)
    except ValueError as refusal:
        return str(refusal)
    return None
