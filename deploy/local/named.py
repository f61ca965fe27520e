"""A Kafka and a PostgreSQL that the settings name: somebody else's, so they are used but never ended."""

from __future__ import annotations

from typing import Literal, NoReturn

from deploy.local.errors import PartUnavailableError
from deploy.local.probes import kafka_answers, postgres_answers, wait_until

_ANSWER_SECONDS = 15.0


class _Named:
    kind: Literal["settings"] = "settings"
    real = True
    name: str

    def stop(self) -> None:
        """Nothing: it is not ours."""

    def destroy(self) -> None:
        """Nothing: it is not ours."""

    def kill(self) -> NoReturn:
        """Raises PartUnavailableError, as do `restart`, `pause` and `resume`: it is not ours."""
        raise PartUnavailableError(f"{self.name} is named by the settings; only a local part can be killed or paused")

    restart = pause = resume = kill


class NamedKafka(_Named):
    """The Kafka at DDOR_KAFKA_BOOTSTRAP."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.name = f"Kafka at {bootstrap} (named by DDOR_KAFKA_BOOTSTRAP)"

    def running(self) -> bool:
        """Whether it answers."""
        return kafka_answers(self.bootstrap)

    def start(self) -> None:
        """Wait until it answers. Raises PartFailedError if it does not."""
        wait_until(self.running, seconds=_ANSWER_SECONDS, what=self.name)


class NamedPostgres(_Named):
    """The PostgreSQL at DDOR_POSTGRES_DSN; its name leaves the DSN out, which may hold a password."""

    name = "PostgreSQL named by DDOR_POSTGRES_DSN"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def running(self) -> bool:
        """Whether it lets us in."""
        return postgres_answers(self.dsn)

    def start(self) -> None:
        """Wait until it lets us in. Raises PartFailedError if it does not."""
        wait_until(self.running, seconds=_ANSWER_SECONDS, what=self.name)
