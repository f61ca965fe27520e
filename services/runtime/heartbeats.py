"""The time without a heartbeat after which a process counts as dead."""

from __future__ import annotations

from datetime import timedelta

WORKER_EXPIRY = timedelta(seconds=3)
"""An aggregator's leases may be acquired by others."""
LEADER_EXPIRY = timedelta(seconds=10)
"""A publisher no longer leads."""
