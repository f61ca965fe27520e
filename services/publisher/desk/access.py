"""The key of the desk, as HTTP Basic authentication (RFC 7617). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

CHALLENGE = 'Basic realm="ddor desk", charset="UTF-8"'


class DeskKey:
    """Compares the password of a request with the key. Only the key's digest is stored."""

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()

    def opens(self, authorization: str) -> bool:
        """Whether the value of the header Authorization has the key as its password. Any user name is accepted.

        Digests are compared in constant time, so the time of a response reveals nothing about the key.
        """
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            decoded = base64.b64decode(credentials.strip(" "), validate=True)
        except (binascii.Error, ValueError):
            return False
        _, colon, password = decoded.partition(b":")
        return bool(colon) and hmac.compare_digest(hashlib.sha256(password).digest(), self._digest)
