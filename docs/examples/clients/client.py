"""Send detainer events, one JSON CloudEvent per line, and read the receipts while sending. Python 3.11, no packages.

    python client.py [FILE]     # without FILE: standard input, which may be endless

DDOR_INGEST_URL is the address of ingest, DDOR_AGENCY_KEY the agency's key. Exit code 0: every event was accepted.
1: some were rejected; standard output lists each with line, code and detail. 2: the client stopped before the end of
the input; standard error gives the reason.
"""

import contextlib
import http.client
import json
import os
import queue
import random
import socket
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

LINES = 10_000  # per request at most: events without a receipt are in memory
IDLE_SECONDS = 1.0  # without a new event, the request ends; ingest would end it after 300 seconds
STALL_SECONDS = 330.0  # without a receipt, the connection is closed; ingest is never that slow
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a retry
RETRYABLE_STATUSES = {408, 429, 500, 502, 503, 504}
RETRYABLE_ERRORS = {"too-many-events", "too-slow", "receipts-not-read"}  # on the last line of a stream


@dataclass
class Event:
    number: int  # line number in the input
    text: bytes  # unchanged: ingest validates these bytes
    settled: bool = False  # has a final receipt, accepted or rejected


class RetryError(Exception):
    """Some events have no final receipt yet. `seconds` is the value of Retry-After, or 0."""

    def __init__(self, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.url = urlsplit(url)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self.new_events: queue.Queue[Event | None] = queue.Queue(1_000)  # bounded: the reader waits for the sender
        self.waiting: deque[Event] = deque()  # without a final receipt; sent before new events
        self.input_ended = False
        self.accepted = self.rejected = 0

    def run(self, source: BinaryIO) -> int:
        """Send until every event has a final receipt. Returns the exit code."""
        threading.Thread(target=self.read, args=(source,), daemon=True).start()
        wait = FIRST_WAIT
        while self.more(None):
            settled = self.accepted + self.rejected
            try:
                self.post()
            except (RetryError, OSError, http.client.HTTPException) as error:
                if self.accepted + self.rejected > settled:
                    wait = FIRST_WAIT  # there was progress
                # Random, so that disconnected clients do not all return at the same time.
                seconds = max(getattr(error, "seconds", 0.0), wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, LONGEST_WAIT)
                print(f"again in {seconds:.1f} s: {error or type(error).__name__}", file=sys.stderr, flush=True)
                time.sleep(seconds)
        print(f"accepted {self.accepted}, rejected {self.rejected}")
        return 1 if self.rejected else 0

    def read(self, source: BinaryIO) -> None:
        try:
            for number, line in enumerate(source, start=1):
                if text := line.strip(b" \t\r\n"):
                    self.new_events.put(Event(number, text))
        except OSError as error:
            stop(f"the input cannot be read: {error}")  # not the end of the input
        self.new_events.put(None)

    def more(self, seconds: float | None) -> bool:
        """Whether there is an event to send. Waits up to `seconds` (None: without limit) for a new one."""
        if not self.waiting and not self.input_ended:
            with contextlib.suppress(queue.Empty):
                event = self.new_events.get(timeout=seconds)
                self.input_ended = event is None
                self.waiting.extend([event] if event else ())
        return bool(self.waiting)

    def post(self) -> None:
        """Make one request: another thread sends, this one reads receipts. Unsettled events are sent again."""
        secure = self.url.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(self.url.netloc, timeout=STALL_SECONDS)
        connection.putrequest("POST", self.url.path.rstrip("/") + "/v1/events")
        for name, value in (self.headers | {"Transfer-Encoding": "chunked"}).items():
            connection.putheader(name, value)
        connection.endheaders()
        sock, sent, stop_sending = connection.sock, list[Event](), threading.Event()
        sender = threading.Thread(target=self.send, args=(sock, sent, stop_sending), daemon=True)
        sender.start()
        try:
            self.receive(connection.getresponse(), sent, stop_sending)
        finally:
            stop_sending.set()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # also ends a blocked sender
            sender.join()
            connection.close()
            self.waiting.extendleft(event for event in reversed(sent) if not event.settled)

    def send(self, sock: socket.socket, sent: list[Event], stop_sending: threading.Event) -> None:
        """Send waiting events, then new ones, each as a chunk of the body, until the request must end."""
        with contextlib.suppress(OSError):  # `receive` finds the reason
            while not stop_sending.is_set() and len(sent) < LINES and self.more(IDLE_SECONDS):
                event = self.waiting.popleft()
                sent.append(event)  # line n of the request is sent[n - 1]; its receipt may arrive at once
                sock.sendall(b"%x\r\n%b\n\r\n" % (len(event.text) + 1, event.text))
            sock.sendall(b"0\r\n\r\n")

    def receive(self, response: http.client.HTTPResponse, sent: list[Event], stop_sending: threading.Event) -> None:
        """Read receipts until every event of the request has a final one. Raises RetryError if one is missing."""
        if response.status != http.client.MULTI_STATUS:
            reason = f"{response.status} {problem(response.read(65_536))}"
            if response.status not in RETRYABLE_STATUSES:
                stop(reason)
            retry_after = response.headers.get("Retry-After", "")
            raise RetryError(reason, float(retry_after) if retry_after.isdigit() else 0.0)
        for line in response:
            message = json.loads(line) if line.endswith(b"\n") else {}  # the last line may be cut off
            if "line" in message:
                self.settle(message, sent[message["line"] - 1], stop_sending)
            elif "error" in message:
                reason = f"ingest ended the stream, {message['error']['code']}: {message['error']['detail']}"
                if message["error"]["code"] not in RETRYABLE_ERRORS:
                    stop(reason)
                raise RetryError(reason)
            elif "summary" in message:
                if missing := sum(not event.settled for event in sent):
                    raise RetryError(f"{missing} events are not known to be stored")
                return
        raise RetryError("the response was cut off")

    def settle(self, receipt: dict[str, Any], event: Event, stop_sending: threading.Event) -> None:
        if receipt["status"] == "accepted":
            self.accepted += 1
        elif receipt["status"] == "rejected":
            self.rejected += 1
            print(f"line {event.number}: {receipt['code']}: {receipt['detail']}", flush=True)
        else:
            stop_sending.set()  # unavailable: end the request, wait, and send again
        event.settled = receipt["status"] != "unavailable"


def problem(body: bytes) -> str:
    """Code and detail of a problem (RFC 9457); a proxy's response may have neither."""
    try:
        members = json.loads(body)
        return f"{members['code']}: {members['detail']}"
    except (ValueError, LookupError, TypeError):
        return "no reason given; check that DDOR_INGEST_URL is the address of ingest"


def stop(reason: str) -> NoReturn:
    print(f"stopped: {reason}", file=sys.stderr)
    sys.stdout.flush()
    os._exit(2)  # from any thread, without waiting for the reader


if __name__ == "__main__":
    if not (os.environ.get("DDOR_INGEST_URL") and os.environ.get("DDOR_AGENCY_KEY")):
        stop("DDOR_INGEST_URL and DDOR_AGENCY_KEY must be set")
    try:
        file = open(sys.argv[1], "rb") if len(sys.argv) > 1 else sys.stdin.buffer
    except OSError as error:
        stop(f"the input cannot be read: {error}")
    with file:
        sys.exit(Client(os.environ["DDOR_INGEST_URL"], os.environ["DDOR_AGENCY_KEY"]).run(file))
