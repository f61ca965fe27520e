"""The behavior of an HTTP/1.1 server: the case, the expected responses, and the source of the requirement.

`sent` is a template. `fill` replaces these placeholders with the words of a service:

    {GOOD}    a whole good request               {LINE}   its request line
    {FIELDS}  its fields but for the framing     {CL}     its Content-Length
    {BODY}    its body                           {CHUNKS} its body in chunks, without the last one
    {METHOD}, {PATH}                             {NOKEY}  its fields without a key
    {LINES}   fields of a stream of lines        {ONELINE} one line of such a stream, in a chunk

The parts of a tuple are sent separately; "wait" waits for the response before the next part, and "end" closes
the sending side. `wanted` lists the statuses of the responses in order (OK is that of a good request), then
whether the connection stays `open`, which a further request proves, or is closed: `close`.
"""

from __future__ import annotations

from typing import NamedTuple

Sent = bytes | tuple[bytes, ...]

BOTH, INGEST, PUBLISHER = "ingest publisher", "ingest", "publisher"
_END = b"\r\n"
_LAST = b"0\r\n\r\n"
_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
_SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n"
_EXPECT = b"Expect: 100-continue\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_OLD = b"{METHOD} {PATH} HTTP/1.0\r\n"


class Case(NamedTuple):
    """One row. `stored` is the number of events that ingest stores, if it is not the number of OKs."""

    name: str
    sent: Sent
    wanted: str
    source: str
    at: str = BOTH
    stored: int | None = None


def _with(fields: bytes, body: bytes = b"{BODY}") -> bytes:
    """A good request with other framing fields, and more of others."""
    return b"{LINE}{FIELDS}" + fields + _END + body


def _at(target: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    """A good request for another target."""
    return b"{METHOD} " + target + b" " + version + b"\r\n{FIELDS}{CL}\r\n{BODY}"


def _host(value: bytes) -> bytes:
    return b"{LINE}Host:" + value + b"\r\n{NOKEY}\r\n"


CASES = (
    # The request line
    Case("a good request", b"{GOOD}", "OK open", "RFC 9112 2.1"),
    Case("two requests in one segment", b"{GOOD}{GOOD}", "OK OK open", "RFC 9112 9.3.2"),
    Case("in pieces", (b"{METHOD} ", b"{PATH} HTTP/1.1\r\n{FIELDS}", b"{CL}\r", b"\n", b"{BODY}"), "OK open",
         "RFC 9112 2.1", INGEST),
    Case("an empty line first", b"\r\n{GOOD}", "OK open", "RFC 9112 2.2"),
    Case("an empty line between two", b"{GOOD}\r\n{GOOD}", "OK OK open", "RFC 9112 2.2"),
    Case("lines that end in LF alone", b"{METHOD} {PATH} HTTP/1.1\nHost: here\n\n", "401|200 open",
         "RFC 9112 2.2"),
    Case("two spaces", b"{METHOD}  {PATH} HTTP/1.1\r\n{FIELDS}\r\n", "400 close", "RFC 9112 3"),
    Case("a tab for a space", b"{METHOD}\t{PATH} HTTP/1.1\r\n{FIELDS}\r\n", "400 close", "RFC 9112 3"),
    Case("a space before the method", b" {GOOD}", "400 close", "RFC 9112 3"),
    Case("a space within the target", _at(b"{PATH} x"), "400 close", "RFC 9112 3.2"),
    Case("version in lower case", _at(b"{PATH}", b"http/1.1"), "400 close", "RFC 9112 2.3"),
    Case("no version", b"{METHOD} {PATH}\r\n{FIELDS}\r\n", "400 close", "RFC 9112 3"),
    Case("HTTP/1.10", _at(b"{PATH}", b"HTTP/1.10"), "400 close", "RFC 9112 2.3"),
    Case("HTTP/1.2", _at(b"{PATH}", b"HTTP/1.2"), "OK open", "RFC 9110 2.5"),
    Case("HTTP/2.0", _at(b"{PATH}", b"HTTP/2.0"), "505 close", "RFC 9110 15.6.6"),
    Case("HTTP/0.9 as a number", _at(b"{PATH}", b"HTTP/0.9"), "505 close", "RFC 9110 15.6.6"),
    Case("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 close", "RFC 9113 3.4"),
    Case("a TLS client hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), "400 close",
         "RFC 9112 2.2"),
    Case("an unknown method", b"BREW {PATH} HTTP/1.1\r\nHost: here\r\n\r\n", "405 open", "RFC 9110 9.1"),
    Case("a method in lower case", b"post {PATH} HTTP/1.1\r\nHost: here\r\n\r\n", "405 open", "RFC 9110 9.1"),
    Case("a method with a colon", b"GE:T {PATH} HTTP/1.1\r\nHost: here\r\n\r\n", "400 close", "RFC 9110 9.1"),
    Case("HEAD", b"HEAD /v1/reports HTTP/1.1\r\nHost: here\r\n\r\n", "HEAD open", "RFC 9110 9.3.2", PUBLISHER),
    Case("CONNECT", b"CONNECT here:443 HTTP/1.1\r\nHost: here:443\r\n\r\n", "405 close", "RFC 9110 9.3.6"),
    Case("OPTIONS of all", b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n", "404 open", "RFC 9112 3.2.4"),
    # The target
    Case("absolute form", _at(b"http://here{PATH}"), "OK open", "RFC 9112 3.2.2"),
    Case("absolute form, its scheme in upper case", _at(b"HTTP://here:80{PATH}?"), "OK open", "RFC 9112 3.2.2"),
    Case("absolute form of another host than Host", _at(b"http://elsewhere{PATH}"), "OK open", "RFC 9112 3.2.2"),
    Case("absolute form without a host", _at(b"http://{PATH}"), "400 close", "RFC 9110 4.2.1"),
    Case("absolute form of another scheme", _at(b"ftp://here{PATH}"), "400 close", "RFC 9110 7.4"),
    Case("authority form", _at(b"here:80"), "400 close", "RFC 9112 3.2.3"),
    Case("asterisk form without OPTIONS", _at(b"*"), "400 close", "RFC 9112 3.2.4"),
    Case("a fragment", _at(b"{PATH}#part"), "400 close", "RFC 9112 3.2"),
    Case("a path without its slash", _at(b"v1"), "400 close", "RFC 9112 3.2.1"),
    Case("a byte above ASCII", _at(b"{PATH}\xc3\xa9"), "400 close", "RFC 9112 3.2"),
    Case("a control character", _at(b"{PATH}\x01"), "400 close", "RFC 9112 3.2"),
    Case("an encoded line feed at the end", _at(b"{PATH}%0A"), "404 open", "RFC 3986 6.2.2.2"),
    Case("an encoded carriage return at the end", _at(b"{PATH}%0D"), "404 open", "RFC 3986 6.2.2.2"),
    Case("an encoded NUL at the end", _at(b"{PATH}%00"), "404 open", "RFC 3986 6.2.2.2"),
    Case("an encoded slash", _at(b"/v1%2F{TAIL}"), "404 open", "RFC 3986 2.2"),
    Case("an encoded letter", _at(b"/%761/{TAIL}"), "OK open", "RFC 3986 6.2.2.2"),
    Case("a percent sign alone", _at(b"{PATH}%"), "404 open", "RFC 3986 2.1"),
    Case("a percent-encoded byte that is not UTF-8", _at(b"{PATH}%ff"), "404 open", "RFC 3986 2.5"),
    Case("a trailing slash", _at(b"{PATH}/"), "404 open", "RFC 3986 6.2.3"),
    Case("a double slash", _at(b"/{PATH}"), "404 open", "RFC 3986 6.2.3"),
    Case("the path in upper case", _at(b"/V1/{TAIL}"), "404 open", "RFC 3986 6.2.2.1"),
    Case("a path with dots", _at(b"/v1/./{TAIL}"), "404 open", "RFC 3986 6.2.2.3"),
    Case("a query", _at(b"{PATH}?"), "OK open", "RFC 3986 3.4"),
    Case("a target of 8 kB", _at(b"{PATH}?" + b"a" * 9_000), "414 close", "RFC 9112 3"),
    Case("a target of 64 kB", _at(b"{PATH}?" + b"a" * 64_000), "414 close", "RFC 9112 3"),
    Case("a target of 200 kB", _at(b"{PATH}?" + b"a" * 200_000), "414 close", "RFC 9112 3"),
    Case("a target without an end", b"{METHOD} {PATH}?" + b"a" * 100_000, "414 close", "RFC 9112 3"),
    # Fields
    Case("no Host", b"{LINE}{NOKEY}\r\n", "400 close", "RFC 9112 3.2"),
    Case("two Hosts", b"{LINE}{FIELDS}Host: there\r\n{CL}\r\n{BODY}", "400 close", "RFC 9112 3.2"),
    Case("one Host twice", b"{LINE}{FIELDS}Host: here\r\n{CL}\r\n{BODY}", "400 close", "RFC 9112 3.2"),
    Case("an empty Host", _host(b""), "400 close", "RFC 9110 4.2.1"),
    Case("Host with a space", _host(b" a b"), "400 close", "RFC 9112 3.2"),
    Case("Host with a path", _host(b" here/there"), "400 close", "RFC 9112 3.2"),
    Case("Host with a user", _host(b" me@here"), "400 close", "RFC 9112 3.2"),
    Case("Host with a list", _host(b" here, there"), "400 close", "RFC 9112 3.2"),
    Case("Host with a bad port", _host(b" here:8o"), "400 close", "RFC 9112 3.2"),
    Case("Host of IPv6 with a port", _host(b" [::1]:8081"), "401|200 open", "RFC 9110 7.2"),
    Case("a space before the colon", b"{LINE}Host : here\r\n\r\n", "400 close", "RFC 9112 5.1"),
    Case("a line without a colon", b"{LINE}Host: here\r\nhello\r\n\r\n", "400 close", "RFC 9112 5"),
    Case("a field without a name", b"{LINE}Host: here\r\n: x\r\n\r\n", "400 close", "RFC 9112 5"),
    Case("a folded line", _with(b"X-Long: a\r\n b\r\n{CL}"), "OK open", "RFC 9112 5.2"),
    Case("a space before the first field", b"{LINE} X: y\r\n{FIELDS}\r\n", "400 close", "RFC 9112 2.2"),
    Case("NUL in a value", b"{LINE}Host: here\r\nX: a\x00b\r\n\r\n", "400 close", "RFC 9110 5.5"),
    Case("CR in a value", b"{LINE}Host: here\r\nX: a\rb\r\n\r\n", "400 close", "RFC 9110 5.5"),
    Case("a control character in a name", b"{LINE}Host: here\r\nX\x01: a\r\n\r\n", "400 close", "RFC 9110 5.1"),
    Case("bytes above ASCII in a value", _with(b"X: \xc3\xa9\r\n{CL}"), "OK open", "RFC 9110 5.5"),
    Case("names in upper case", _with(b"X: y\r\n{CL}").replace(b"{FIELDS}", b"{UPPER}"), "OK open", "RFC 9110 5.1"),
    Case("no space after the colon", _with(b"X:y\r\n{CL}"), "OK open", "RFC 9112 5.1"),
    Case("a head of 60 kB", _with(b"X: " + b"y" * 60_000 + b"\r\n{CL}"), "OK open", "RFC 9110 5.4"),
    Case("a head of 70 kB", _with(b"X: " + b"y" * 70_000 + b"\r\n{CL}"), "431 close", "RFC 6585 5"),
    Case("a head of 200 kB", _with(b"X: " + b"y" * 200_000 + b"\r\n{CL}"), "431 close", "RFC 6585 5"),
    Case("a head of 10,000 fields", _with(b"X: y\r\n" * 12_000 + b"{CL}"), "431 close", "RFC 6585 5"),
    Case("a large head after another request", b"{GOOD}" + _with(b"X: " + b"y" * 70_000 + b"\r\n{CL}"),
         "OK 431 close", "RFC 6585 5"),
    Case("two Authorizations", _with(b"Authorization: Bearer x\r\n{CL}"), "400 close", "RFC 9110 5.3", INGEST),
    Case("one Authorization twice", _with(b"Authorization: Bearer x\r\nAuthorization: Bearer x\r\n"), "400 close",
         "RFC 9110 5.3", PUBLISHER),
    Case("two Content-Types", _with(b"Content-Type: text/plain\r\nContent-Type: application/json\r\n{CL}"),
         "400 close", "RFC 9110 8.3"),
    Case("two Content-Encodings", _with(b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n{CL}"), "400 close",
         "RFC 9110 8.4"),
    Case("two ids in binary mode", b"{LINE}{BINARY}ce-id: 1\r\nce-id: 2\r\n{CL}\r\n{BODY}", "422 open",
         "CloudEvents HTTP binding 3.1", INGEST),
    # Upgrade
    Case("Upgrade h2c", _with(_H2C + b"{CL}"), "OK open", "RFC 9110 7.8"),
    Case("Upgrade h2c, the body later", (b"{LINE}{FIELDS}" + _H2C + b"{CL}\r\n", b"{BODY}"), "OK open",
         "RFC 9110 7.8", INGEST),
    Case("Upgrade h2c, in chunks", _with(_H2C + _CHUNKED, b"{CHUNKS}" + _LAST), "OK open", "RFC 9110 7.8"),
    Case("Upgrade h2c, a body like a request",
         (_with(_H2C + b"Content-Length: %d\r\n" % len(_SMUGGLED), b""), _SMUGGLED), "400 open", "RFC 9112 11.2",
         INGEST),
    Case("Upgrade h2c, a body like a request, unread",
         (_with(_H2C + b"Content-Length: %d\r\n" % len(_SMUGGLED), b""), _SMUGGLED), "OK close", "RFC 9112 11.2",
         PUBLISHER),
    Case("Upgrade h2c, then another request", _with(_H2C + b"{CL}") + b"{GOOD}", "OK OK open", "RFC 9110 7.8"),
    Case("Upgrade websocket", _with(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{CL}"), "OK open", "RFC 9110 7.8"),
    Case("Upgrade to TLS", _with(b"Connection: upgrade\r\nUpgrade: TLS/1.2\r\n{CL}"), "OK open", "RFC 9110 7.8"),
    Case("Upgrade without Connection", _with(b"Upgrade: h2c\r\n{CL}"), "OK open", "RFC 9110 7.8"),
    Case("Upgrade h2c of a stream", b"{LINE}{LINES}" + _H2C + _CHUNKED + b"\r\n{ONELINE}" + _LAST, "207 open",
         "RFC 9110 7.8", INGEST, 1),
    # Content-Length
    Case("more bytes than Content-Length", _with(b"{CL}", b"{BODY}trash\r\n\r\n"), "OK 400 close", "RFC 9112 6.3"),
    Case("a good request, then a bad one", b"{GOOD}\x00\x00\x00\x00", "OK 400 close", "RFC 9112 2.2"),
    Case("two Content-Lengths", _with(b"Content-Length: 1\r\n{CL}"), "400 close", "RFC 9112 6.3"),
    Case("two Content-Lengths in a list", _with(b"Content-Length: 1, 2\r\n"), "400 close", "RFC 9112 6.3"),
    Case("one Content-Length twice", _with(b"{CL}{CL}"), "OK open", "RFC 9112 6.3"),
    Case("Content-Length below zero", _with(b"Content-Length: -1\r\n"), "400 close", "RFC 9110 8.6"),
    Case("Content-Length with a plus", _with(b"Content-Length: +5\r\n"), "400 close", "RFC 9110 8.6"),
    Case("Content-Length in hexadecimal", _with(b"Content-Length: 0x5\r\n"), "400 close", "RFC 9110 8.6"),
    Case("Content-Length of two words", _with(b"Content-Length: 5 5\r\n"), "400 close", "RFC 9110 8.6"),
    Case("an empty Content-Length", _with(b"Content-Length:\r\n"), "400 close", "RFC 9110 8.6"),
    Case("Content-Length of 40 digits", _with(b"Content-Length: " + b"9" * 40 + b"\r\n"), "400 close",
         "RFC 9110 8.6"),
    Case("Content-Length of a terabyte", _with(b"Content-Length: 1000000000000\r\n"), "413 close", "RFC 9110 8.6",
         INGEST),
    Case("a body cut off", (_with(b"{CL}", b"{HALF}"), b"end"), "400 close", "RFC 9112 8", INGEST),
    Case("a half-close after the request", (b"{GOOD}", b"end"), "OK close", "RFC 9112 9.6"),
    Case("a half-close after two requests", (b"{GOOD}{GOOD}", b"end"), "OK OK close", "RFC 9112 9.6"),
    Case("a half-close within a head", (b"{METHOD} {PATH} HTTP/1.1\r\nHost:", b"end"), "400 close",
         "RFC 9112 8"),
    Case("a half-close before anything", (b"end",), "close", "RFC 9112 9.6"),
    # Transfer-Encoding
    Case("chunks", _with(_CHUNKED, b"{CHUNKS}" + _LAST), "OK open", "RFC 9112 7.1"),
    Case("chunks, the coding in upper case", _with(b"Transfer-Encoding: CHUNKED\r\n", b"{CHUNKS}" + _LAST), "OK open",
         "RFC 9112 7"),
    Case("chunks in pieces", (_with(_CHUNKED, b""), b"{CHUNKS}", b"0\r\n", b"\r\n"), "OK open", "RFC 9112 7.1",
         INGEST),
    Case("chunks, then another request", _with(_CHUNKED, b"{CHUNKS}" + _LAST) + b"{GOOD}", "OK OK open",
         "RFC 9112 7.1"),
    Case("chunks with extensions", _with(_CHUNKED, b"{EXTENDED}" + _LAST), "OK open", "RFC 9112 7.1.1"),
    Case("both framings", _with(_CHUNKED + b"{CL}", b"{CHUNKS}" + _LAST), "400 close", "RFC 9112 6.1"),
    Case("both framings, the other way round", _with(b"{CL}" + _CHUNKED, b"{CHUNKS}" + _LAST), "400 close",
         "RFC 9112 6.1"),
    Case("gzip, chunked", _with(b"Transfer-Encoding: gzip, chunked\r\n", b"{CHUNKS}" + _LAST), "501 close",
         "RFC 9112 6.1"),
    Case("chunked, gzip", _with(b"Transfer-Encoding: chunked, gzip\r\n", b"{CHUNKS}" + _LAST), "400|501 close",
         "RFC 9112 6.3"),
    Case("identity", _with(b"Transfer-Encoding: identity\r\n{CL}"), "400|501 close", "RFC 9112 6.1"),
    Case("xchunked", _with(b"Transfer-Encoding: xchunked\r\n", b"{CHUNKS}" + _LAST), "501 close", "RFC 9112 6.1"),
    Case("a coding after a vertical tab", _with(b"Transfer-Encoding: \x0bchunked\r\n", b"{CHUNKS}" + _LAST),
         "400|501 close", "RFC 9112 6.1"),
    Case("chunked twice", _with(_CHUNKED + _CHUNKED, b"{CHUNKS}" + _LAST), "400|501 close", "RFC 9112 6.1"),
    Case("a space before the colon of the framing", _with(b"Transfer-Encoding : chunked\r\n", b"{CHUNKS}" + _LAST),
         "400 close", "RFC 9112 5.1"),
    Case("chunks of HTTP/1.0", _OLD + b"{FIELDS}" + _CHUNKED + b"\r\n{CHUNKS}" + _LAST, "400 close", "RFC 9112 6.1"),
    Case("a chunk without a size", _with(_CHUNKED, b"\r\nabc\r\n" + _LAST), "400 close", "RFC 9112 7.1"),
    Case("a chunk's size with a prefix", _with(_CHUNKED, b"0x3\r\nabc\r\n" + _LAST), "400 close", "RFC 9112 7.1"),
    Case("a chunk's size below zero", _with(_CHUNKED, b"-3\r\nabc\r\n" + _LAST), "400 close", "RFC 9112 7.1"),
    Case("a chunk's size after a space", _with(_CHUNKED, b" 3\r\nabc\r\n" + _LAST), "400 close", "RFC 9112 7.1"),
    Case("a chunk's size of 40 digits", _with(_CHUNKED, b"f" * 40 + b"\r\nabc\r\n" + _LAST), "400 close",
         "RFC 9112 7.1"),
    Case("a chunk longer than its size", _with(_CHUNKED, b"3\r\nabcdef\r\n" + _LAST), "400 close", "RFC 9112 7.1"),
    Case("a chunk's size that ends in LF", _with(_CHUNKED, b"3\nabc\r\n" + _LAST), "400 close", "RFC 9112 7.1"),
    Case("chunks without an end", (_with(_CHUNKED, b"{CHUNKS}"), b"end"), "400 close", "RFC 9112 8", INGEST),
    # Trailers
    Case("a trailer", _with(_CHUNKED, b"{CHUNKS}0\r\nX-Sum: 1\r\n\r\n"), "OK open", "RFC 9110 6.5"),
    Case("framing in a trailer", _with(_CHUNKED, b"{CHUNKS}0\r\nContent-Length: 999\r\nHost: x\r\n\r\n"), "OK open",
         "RFC 9110 6.5.1"),
    Case("a bad trailer", _with(_CHUNKED, b"{CHUNKS}0\r\nhello\r\n\r\n"), "400 close", "RFC 9112 7.1.2"),
    Case("trailers of 100 kB", _with(_CHUNKED, b"{CHUNKS}0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), "431 close",
         "RFC 6585 5", INGEST),
    Case("a key in a trailer alone",
         b"{LINE}Host: here\r\n{NOKEY}" + _CHUNKED + b"\r\n{CHUNKS}0\r\n{KEY}\r\n", "401 open", "RFC 9110 6.5.1",
         INGEST),
    Case("ce-time in a trailer alone", b"{LINE}{TIMELESS}" + _CHUNKED + b"\r\n{DATA}0\r\n{TIME}\r\n", "422 open",
         "RFC 9110 6.5.1", INGEST),
    # Expect
    Case("Expect", (b"{LINE}{FIELDS}" + _EXPECT + b"{CL}\r\n", b"wait", b"{BODY}"), "100 OK open", "RFC 9110 10.1.1",
         INGEST),
    Case("Expect of a stream",
         (b"{LINE}{LINES}" + _EXPECT + _CHUNKED + b"\r\n", b"wait", b"{ONELINE}" + _LAST), "100 207 open",
         "RFC 9110 10.1.1", INGEST, 1),
    Case("Expect, refused by its head", (b"{LINE}Host: here\r\n{NOKEY}" + _EXPECT + b"{CL}\r\n", b"wait", b"{GOOD}"),
         "401 close", "RFC 9110 10.1.1", INGEST),
    Case("Expect, not needed", (b"{LINE}{FIELDS}" + _EXPECT + b"{CL}\r\n", b"wait"), "OK close", "RFC 9110 10.1.1",
         PUBLISHER),
    Case("Expect of HTTP/1.0", (_OLD + b"{FIELDS}" + _EXPECT + b"{CL}\r\n", b"{BODY}"), "OK close", "RFC 9110 10.1.1"),
    Case("Expect with its body", _with(_EXPECT + b"{CL}"), "OK open", "RFC 9110 10.1.1"),
    # Refused before the body
    Case("no key, the body never sent", (b"{LINE}Host: here\r\n{NOKEY}{CL}\r\n", b"wait", b"{GOOD}"), "401 close",
         "RFC 9112 9.3", INGEST),
    Case("an unknown coding, the body never sent", (_with(b"Content-Encoding: br\r\n{CL}", b""), b"wait", b"{GOOD}"),
         "415 close", "RFC 9112 9.3", INGEST),
    Case("another Accept, the body never sent", (_with(b"Accept: text/html\r\n{CL}", b""), b"wait",
         b"{GOOD}"), "406 close", "RFC 9112 9.3", INGEST),
    Case("an unknown path, the body never sent", (b"POST /nowhere HTTP/1.1\r\n{FIELDS}{CL}\r\n", b"wait", b"{GOOD}"),
         "404 close", "RFC 9112 9.3"),
    Case("read without its body", (b"GET /livez HTTP/1.1\r\nHost: here\r\nContent-Length: 90\r\n\r\n", b"wait",
         b"{GOOD}"), "200 close", "RFC 9112 9.3"),
    Case("no key, the body sent", b"{LINE}Host: here\r\n{NOKEY}{CL}\r\n{BODY}", "401 open", "RFC 9112 9.3", INGEST),
    # Persistence
    Case("Connection: close", _with(b"Connection: close\r\n{CL}"), "OK close", "RFC 9112 9.6"),
    Case("Connection: Close in a list", _with(b"Connection: x, Close\r\n{CL}"), "OK close", "RFC 9112 9.6"),
    Case("close, then another request", _with(b"Connection: close\r\n{CL}") + b"{GOOD}", "OK close", "RFC 9112 9.6"),
    Case("close, then an empty line and a half-close", (_with(b"Connection: close\r\n{CL}") + b"\r\n", b"end"),
         "OK close", "RFC 9112 2.2"),
    Case("HTTP/1.0, then an empty line and a half-close", (_OLD + b"{FIELDS}{CL}\r\n{BODY}\r\n", b"end"),
         "OK close", "RFC 9112 2.2"),
    Case("HTTP/1.0", _OLD + b"{FIELDS}{CL}\r\n{BODY}", "OK close", "RFC 9112 9.3"),
    Case("HTTP/1.0 without Host", _OLD + b"{NOKEY}\r\n", "401|200 close", "RFC 9112 3.2"),
    Case("HTTP/1.0, a stream", _OLD + b"{LINES}Content-Length: {SIZE}\r\n\r\n{PLAINLINE}", "207 close", "RFC 9112 7",
         INGEST, 1),
    Case("HTTP/1.0, a body of no length", _OLD + b"{FIELDS}\r\n{BODY}", "400|200 close", "RFC 9112 6.3"),
)  # fmt: skip
