"""What else the machine was doing, and what a process used."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import psutil


def load() -> str:
    """The load before a run: a figure that says how far to believe those below it."""
    one, five, _ = os.getloadavg()
    return f"load {one:.2f} over 1 min, {five:.2f} over 5 min, {os.cpu_count()} cores"


@dataclass
class Usage:
    """CPU seconds and peak resident megabytes of a process, from the making of this object on."""

    process: psutil.Process

    def __post_init__(self) -> None:
        self._began = perf_counter()
        self._cpu = self._cpu_seconds()

    def _cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return perf_counter() - self._began

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far."""
        return self._cpu_seconds() - self._cpu

    @property
    def peak_megabytes(self) -> float:
        """Peak resident memory since the process began."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


@dataclass(frozen=True, slots=True)
class Measured:
    """One round: events a second, and what the measured process used for them."""

    rate: float
    cpu_us: float | None = None
    megabytes: float | None = None


def middle(rounds: list[Measured]) -> Measured:
    """The median of each figure."""
    cpu = [one.cpu_us for one in rounds if one.cpu_us is not None]
    memory = [one.megabytes for one in rounds if one.megabytes is not None]
    return Measured(median(one.rate for one in rounds), median(cpu) if cpu else None, max(memory) if memory else None)
