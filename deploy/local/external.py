"""A Kafka and a PostgreSQL at addresses from the settings. They are used but never started or stopped."""

from __future__ import annotations

from typing import Literal, NoReturn

from deploy.local.errors import PartUnavailableError
from deploy.local.probes import kafka_answers, postgres_answers, wait_until

_ANSWER_SECONDS = 15.0


class _External:
    source: Literal["settings"] = "settings"
    name: str

    def stop(self) -> None:
        """No effect: the server is external."""

    def destroy(self) -> None:
        """No effect: the server is external."""

    def kill(self) -> NoReturn:
        """Raises PartUnavailableError, as do `pause` and `resume`: the server is external."""
        raise PartUnavailableError(f"{self.name} is external; only a local part can be killed or paused")

    pause = resume = kill


class ExternalKafka(_External):
    """The Kafka at DDOR_KAFKA_BOOTSTRAP."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.name = f"Kafka at {bootstrap} (DDOR_KAFKA_BOOTSTRAP)"

    def running(self) -> bool:
        """Whether it responds."""
        return kafka_answers(self.bootstrap)

    def start(self) -> None:
        """Wait until it responds. Raises PartFailedError if it does not."""
        wait_until(self.running, seconds=_ANSWER_SECONDS, what=self.name)


class ExternalPostgres(_External):
    """The PostgreSQL at DDOR_POSTGRES_DSN. Its name omits the DSN, which may contain a password."""

    name = "PostgreSQL at DDOR_POSTGRES_DSN"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def running(self) -> bool:
        """Whether it accepts the connection."""
        return postgres_answers(self.dsn)

    def start(self) -> None:
        """Wait until it accepts the connection. Raises PartFailedError if it does not."""
        wait_until(self.running, seconds=_ANSWER_SECONDS, what=self.name)
