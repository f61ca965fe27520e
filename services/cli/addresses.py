"""Partitions and records as operators write them: `detainer-issued/3` and `detainer-issued/3/1742`."""

from __future__ import annotations

from schemas.log import AddressError, Partition, RecordAddress
from schemas.topics import EVENT_TOPICS
from services.runtime.errors import CallerError


class NoSuchAddressError(CallerError):
    """The text is not the address of a partition or a record of an event topic."""


def partition(text: str) -> Partition:
    """Read topic/partition. Raises NoSuchAddressError."""
    try:
        return _of_event_topic(Partition.parse(text))
    except AddressError as error:
        raise NoSuchAddressError(str(error)) from None


def record(text: str) -> RecordAddress:
    """Read topic/partition/offset. Raises NoSuchAddressError."""
    try:
        address = RecordAddress.parse(text)
    except AddressError as error:
        raise NoSuchAddressError(str(error)) from None
    _of_event_topic(address.partition)
    return address


def _of_event_topic(partition: Partition) -> Partition:
    names = [topic.name for topic in EVENT_TOPICS]
    if partition.topic not in names:
        raise NoSuchAddressError(f"unknown topic {partition.topic}; the topics are {', '.join(names)}")
    return partition
