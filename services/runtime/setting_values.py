"""The values of settings: checks and conversions of text. Pure. An error never quotes the value."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfoNotFoundError

from pydantic import SecretStr

from schemas.week import Weekday
from services.runtime import zones

MAX_PORT = 65_535
_LONGEST_CONTACT = 300
_MAIL = re.compile(r"mailto:[A-Za-z0-9.+_-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+").fullmatch
_PRINTABLE = re.compile(r"[!-~]+").fullmatch


def zone(name: str) -> str:
    """The name of an IANA time zone."""
    try:
        zones.zone(name)
    except ZoneInfoNotFoundError as error:
        raise ValueError("is not an IANA time zone, such as America/New_York") from error
    return name


def weekday(value: object) -> object:
    """A weekday by its name, in any case. Other values are left to pydantic."""
    return Weekday[value.upper()] if isinstance(value, str) and value.upper() in Weekday.__members__ else value


def duration(value: object) -> object:
    """A number of seconds as a duration. Other forms are left to pydantic."""
    if not isinstance(value, str) or not value.isdecimal():
        return value
    try:
        return timedelta(seconds=int(value))
    except (ValueError, OverflowError) as error:
        raise ValueError("duration is too large") from error


def brokers(text: str) -> str:
    """Addresses of brokers, without blanks."""
    for one in text.split(","):
        host, _, port = one.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or not 1 <= int(port[:9]) <= MAX_PORT:
            raise ValueError("must be HOST:PORT, or several separated by commas, with ports from 1 to 65535")
    return ",".join(one.strip() for one in text.split(","))


def http_address(text: str) -> str:
    """A URL of a server."""
    if not _is_http(text):
        raise ValueError("must be a URL such as http://127.0.0.1:8081")
    return text


def collector(text: str) -> str:
    """The URL of an OpenTelemetry collector."""
    parts = urlsplit(text) if _is_http(text) else None
    if parts is None or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            "must be a URL such as http://127.0.0.1:4318, without a login (set OTEL_EXPORTER_OTLP_HEADERS for one)"
        )
    return text


def _is_http(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # invalid port
        return False


def hard_to_guess(key: SecretStr) -> SecretStr:
    """A key that cannot be found by trying."""
    text = key.get_secret_value()
    if len(text) < 20 or len(set(text)) < 8 or not (text.isascii() and text.isprintable()):
        raise ValueError("must have at least 20 ASCII characters, 8 of them different: use a random one")
    return key


def contact(text: str) -> str:
    """A mail address or a page, as a URL."""
    try:
        parts = urlsplit(text)
        https = parts.scheme == "https" and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:  # invalid port
        https = False
    if len(text) > _LONGEST_CONTACT or not (_MAIL(text) or (https and _PRINTABLE(text))):
        raise ValueError("must be a URL such as mailto:reports@example.org or https://example.org/contact")
    return text
