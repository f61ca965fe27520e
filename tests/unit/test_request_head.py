"""services.runtime.request_head: checks of the request line and headers."""

from __future__ import annotations

import pytest

from services.runtime.request_head import MAX_TARGET_BYTES, SINGLE_VALUED, Fault, check_head, names_a_resource

HOST = (b"host", b"here:8081")


def verdict(
    *fields: tuple[bytes, bytes], method: bytes = b"POST", target: bytes = b"/v1/events", version: bytes = b"1.1"
) -> Fault | bytes:
    return check_head(method, target, version, [HOST, *fields])


def refused(found: Fault | bytes) -> tuple[int, str]:
    assert isinstance(found, Fault), found
    return found.status, found.code


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/v1/events", b"/v1/events"),
        (b"/", b"/"),
        (b"//here/v1", b"//here/v1"),
        (b"/a?b=http://c/", b"/a?b=http://c/"),
        (b"http://here/v1/events?a=b", b"/v1/events?a=b"),
        (b"HTTP://here:8081", b"/"),
        (b"http://[::1]:80?a", b"/?a"),
    ],
)
def test_a_target_is_the_path_and_query_that_it_names(target: bytes, path: bytes) -> None:
    assert verdict(target=target) == path


@pytest.mark.parametrize(
    "target", [b"v1/events", b"*", b"http://", b"http:///v1", b"http://me@here/", b"https://here/", b"/a#b", b"here:80"]
)
def test_another_target_is_400(target: bytes) -> None:
    assert refused(verdict(target=target)) == (400, "bad-request")


def test_options_may_target_the_server() -> None:
    assert verdict(method=b"OPTIONS", target=b"*") == b"*"


def test_a_target_has_a_maximum_length() -> None:
    longest = b"/" + b"a" * (MAX_TARGET_BYTES - 1)
    assert verdict(target=longest) == longest
    assert refused(verdict(target=longest + b"a")) == (414, "target-too-long")


@pytest.mark.parametrize("name", sorted(SINGLE_VALUED), ids=bytes.decode)
def test_a_single_value_field_may_occur_once(name: bytes) -> None:
    value = b"here" if name == b"host" else b"x"
    if name != b"host":
        assert verdict((name, value)) == b"/v1/events"
    found = verdict((name, value), (name, value))
    assert refused(found) == (400, "duplicate-header")
    assert isinstance(found, Fault)
    assert name.decode() in found.detail


@pytest.mark.parametrize("name", [b"accept", b"connection", b"via", b"x-any", b"ce-id", b"if-none-match"])
def test_a_list_may_span_several_lines(name: bytes) -> None:
    assert verdict((name, b"x"), (name, b"y")) == b"/v1/events"


@pytest.mark.parametrize("host", [b"", b" ", b"a b", b"a/b", b"me@here", b"here:x", b"[::1", b"a, b", b"h\xc3\xa9re"])
def test_an_invalid_host_is_refused(host: bytes) -> None:
    assert refused(check_head(b"GET", b"/", b"1.1", [(b"host", host)])) == (400, "bad-request")


@pytest.mark.parametrize("host", [b"here", b"here:", b"here:8081", b"10.0.0.1", b"[::1]:80", b"h%C3%A9re", b"a_b"])
def test_valid_forms_of_a_host_are_accepted(host: bytes) -> None:
    assert check_head(b"GET", b"/", b"1.1", [(b"host", host)]) == b"/"


def test_http_1_1_requires_a_host() -> None:
    assert check_head(b"GET", b"/", b"1.0", []) == b"/"
    assert refused(check_head(b"GET", b"/", b"1.1", [])) == (400, "bad-request")
    assert refused(check_head(b"GET", b"/", b"1.2", [])) == (400, "bad-request")


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"3.1"])
def test_another_major_version_is_505(version: bytes) -> None:
    assert refused(verdict(version=version)) == (505, "unsupported-version")


def test_a_body_has_one_framing() -> None:
    chunked = (b"transfer-encoding", b"chunked")
    assert verdict(chunked) == b"/v1/events"
    assert refused(verdict(chunked, (b"content-length", b"3"))) == (400, "bad-request")
    assert refused(verdict(chunked, version=b"1.0")) == (400, "bad-request")


def test_a_tunnel_is_405() -> None:
    assert refused(verdict(method=b"CONNECT", target=b"here:443")) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    "path", [b"/v1/events%0A", b"/v1/events%0d", b"/%00", b"/a%7f", b"/v1%2Fevents", b"/v1%2fevents"]
)
def test_a_path_with_an_encoded_control_character_or_slash_is_not_found(path: bytes) -> None:
    assert not names_a_resource(path)


@pytest.mark.parametrize("path", [b"/v1/events", b"/v1/%65vents", b"/v1/reports/%E2%91%A0", b"/%20"])
def test_other_paths_are_valid(path: bytes) -> None:
    assert names_a_resource(path)
