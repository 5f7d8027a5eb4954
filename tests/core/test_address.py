"""Addresses of both sides: one grammar, read and written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80, ""),
        ("0.0.0.0:0", "0.0.0.0", 0, ""),
        ("[::1]:8080", "::1", 8080, ""),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1, ""),
        ("legacy:80", "legacy", 80, ""),
        ("a-b.example.:65535", "a-b.example.", 65535, ""),
        ("unix:/run/x.sock", "", 0, "/run/x.sock"),
        ("unix:x y", "", 0, "x y"),
    ],
)
def test_reads_and_writes(text: str, host: str, port: int, path: str) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.path) == (host, port, path)
    assert str(address) == text
    assert address.is_unix == bool(path)
    assert address.is_name == (host in ("legacy", "a-b.example."))
    assert address.is_ipv6 == (":" in host)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "no port"),
        ("8080", "no port"),
        ("localhost", "no port"),
        (":80", "no host"),
        ("localhost:", "bad port"),
        ("localhost:65536", "bad port"),
        ("localhost:-1", "bad port"),
        ("localhost:８０", "bad port"),
        ("::1:80", "brackets"),
        ("[::1]", "bad port"),
        ("[127.0.0.1]:80", "no IPv6"),
        ("127.0.0.256:80", "no IPv4"),
        ("1.2.3:80", "no IPv4"),
        ("a b:80", "no host name"),
        ("-a:80", "no host name"),
        ("a..b:80", "no host name"),
        ("http://a:80", "brackets"),
        ("a/b:80", "no host name"),
        ("unix:", "no path"),
        ("unix:/a\nb", "control"),
        ("unix:/" + "a" * 107, "107 bytes"),
        ("a" * 64 + ":80", "no host name"),
    ],
)
def test_says_what_is_wrong_and_what_is_allowed(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match="; allowed: ") as fault:
        Address.parse(text)
    assert wrong in str(fault.value)
    assert str(fault.value).isprintable()


hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9](\.[a-z]{2,8}){0,3}", fullmatch=True),
)


@given(st.builds(Address, hosts, st.integers(0, 65535), st.just("")))
def test_what_is_written_is_read_back(address: Address) -> None:
    assert Address.parse(str(address)) == address


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_fault_on_one_line(text: str) -> None:
    try:
        address = Address.parse(text)
    except ValueError as fault:
        said = str(fault)
    else:
        said = str(address)
        assert Address.parse(said) == address
    assert said.isprintable()
