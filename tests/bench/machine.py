"""What else the machine was doing, and what a process used."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import psutil


def load() -> str:
    """The load before a run: a figure that says how far to believe those below it."""
    one, five, _ = os.getloadavg()
    return f"load {one:.2f} over 1 min, {five:.2f} over 5 min, {os.cpu_count()} cores"


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: events a second, and what the measured process used for them.

    `client` and `machine` are cores that were busy: this process, and all processes together.
    """

    rate: float
    cpu_us: float | None = None
    megabytes: float | None = None
    client: float | None = None
    machine: float | None = None


@dataclass
class Usage:
    """CPU seconds and peak resident megabytes of a process, from the making of this object on."""

    process: psutil.Process

    def __post_init__(self) -> None:
        self._began = perf_counter()
        self._cpu = _seconds(self.process)
        self._client = _seconds(psutil.Process())
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
        """What it took to have this process do so many events; this process of ours was their client."""
        seconds = self.seconds
        return Measured(
            events / seconds,
            self.cpu_seconds / events * 1e6,
            self.peak_megabytes,
            (_seconds(psutil.Process()) - self._client) / seconds,
            (_busy_seconds() - self._machine) / seconds,
        )


def _seconds(process: psutil.Process) -> float:
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
        _median(rounds, lambda one: one.machine),
    )


def _median(rounds: list[Measured], figure: Callable[[Measured], float | None]) -> float | None:
    found = [value for one in rounds if (value := figure(one)) is not None]
    return median(found) if found else None
