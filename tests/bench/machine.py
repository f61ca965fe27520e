"""The load of the machine and the resource use of a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import psutil


def load() -> str:
    """The load before a run, which indicates how reliable the figures are."""
    one, five, _ = os.getloadavg()
    return f"load {one:.2f} over 1 min, {five:.2f} over 5 min, {os.cpu_count()} cores"


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: events per second, and the resource use of the measured process.

    `client`, `kafka` and `others` are cores that were busy: with this process, with Kafka, and with processes outside
    the measurement, which should be close to zero.
    """

    rate: float
    cpu_us: float | None = None
    megabytes: float | None = None
    client: float | None = None
    kafka: float | None = None
    others: float | None = None


@dataclass
class Usage:
    """CPU seconds and peak resident megabytes of a process since the creation of this object."""

    process: psutil.Process
    kafka: psutil.Process | None = None

    def __post_init__(self) -> None:
        self._began = perf_counter()
        self._cpu = _seconds(self.process)
        self._client = _seconds(psutil.Process())
        self._kafka = _seconds(self.kafka)
        self._machine = _busy_seconds()

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return perf_counter() - self._began

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far."""
        return _seconds(self.process) - self._cpu

    @property
    def peak_megabytes(self) -> float:
        """Peak resident memory since the process began."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

    def measured(self, events: int) -> Measured:
        """The resource use of a process for this many events. The current process is the client."""
        seconds, server = self.seconds, self.cpu_seconds
        client, kafka = _seconds(psutil.Process()) - self._client, _seconds(self.kafka) - self._kafka
        others = max(0.0, _busy_seconds() - self._machine - server - client - kafka)
        megabytes = self.peak_megabytes
        return Measured(
            events / seconds, server / events * 1e6, megabytes, client / seconds, kafka / seconds, others / seconds
        )


def _seconds(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def middle(rounds: list[Measured]) -> Measured:
    """The median of each figure, and the highest peak."""
    peaks = [one.megabytes for one in rounds if one.megabytes is not None]
    return Measured(
        median(one.rate for one in rounds),
        _median(rounds, lambda one: one.cpu_us),
        max(peaks) if peaks else None,
        _median(rounds, lambda one: one.client),
        _median(rounds, lambda one: one.kafka),
        _median(rounds, lambda one: one.others),
    )


def _median(rounds: list[Measured], figure: Callable[[Measured], float | None]) -> float | None:
    found = [value for one in rounds if (value := figure(one)) is not None]
    return median(found) if found else None
