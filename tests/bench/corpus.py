"""Events for the benchmarks: about 600 bytes each, 2 % repeated, over six partitions of detainer-issued."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from aiokafka import AIOKafkaProducer

from schemas.topics import CONTENT_TYPE, DETAINER_ISSUED, Topic, partition_of

PARTITIONS = 6
TOPIC = Topic(DETAINER_ISSUED, PARTITIONS)
_REPEATED = 0.02
_HEADERS = [("content-type", CONTENT_TYPE.encode())]
_COUNTIES = ("32003", "36059", "17031", "53061", "19137", "36033", "41067", "12001", "42055", "19069", "06037", "48201")
_OFFENSES = ("90D", "13A", "13B", "35A", "520", "23H", "220", "90J", "120", "11A", "09A", "26A")
_EVENT = (
    '{"specversion":"1.0","id":"%s","source":"/agencies/bench","type":"detainer-issued","subject":"%s",'
    '"time":"2017-02-01T12:%02d:%02dZ","dataschema":"/schemas/detainer-issued/1","datacontenttype":"application/json",'
    '"data":{"detainer_id":"%s","version":%d,"jurisdiction":"%s","operator":"county","location":"%s",'
    '"facility":"BENCH-%03d","issued_at":"2017-%02d-%02dT%02d:%02d:%02d-05:00","form":"I-247D","citizenship":"MEX",'
    '"offenses":[{"category":"%s","basis":"charged"},{"category":"%s","basis":"convicted"}]}}'
)


def _time_ordered(rng: random.Random, number: int) -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of time first."""
    value = (1_485_579_600_000 + number) << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    return uuid.UUID(int=value)


def events(count: int, *, seed: int, time_ordered: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of `count` records, 2 % of them repeat an earlier one of the last thousand."""
    rng = random.Random(seed)  # reproducible, nothing secret
    recent: list[tuple[bytes, bytes]] = []
    for number in range(count):
        if recent and rng.random() < _REPEATED:
            yield rng.choice(recent)
            continue
        identity = str(_time_ordered(rng, number) if time_ordered else uuid.UUID(int=rng.getrandbits(128), version=4))
        county = rng.choice(_COUNTIES)
        minute, second = number // 60 % 60, number % 60
        value = _EVENT % (
            identity, identity, minute, second, identity, 1, county, county, number % 1000, 1 + number % 12,
            1 + number % 28, number % 24, minute, second,
            rng.choice(_OFFENSES), rng.choice(_OFFENSES),
        )  # fmt: skip
        record = identity.encode(), value.encode()
        recent.append(record)
        if len(recent) > 1_000:
            recent = recent[500:]
        yield record


async def produce(client: Mapping[str, Any], records: Iterable[tuple[bytes, bytes]]) -> None:
    """Write (key, value) of `records` to Kafka, each in the partition of its key."""
    producer = AIOKafkaProducer(**client, acks="all", enable_idempotence=True, max_batch_size=1_048_576)
    await producer.start()
    try:
        batches = {number: producer.create_batch() for number in range(PARTITIONS)}
        waiting = []
        for key, value in records:
            number = partition_of(key, PARTITIONS)
            if batches[number].append(key=key, value=value, timestamp=None, headers=_HEADERS) is None:
                waiting.append(await producer.send_batch(batches[number], TOPIC.name, partition=number))
                batches[number] = producer.create_batch()
                batches[number].append(key=key, value=value, timestamp=None, headers=_HEADERS)
        for number, batch in batches.items():
            waiting.append(await producer.send_batch(batch, TOPIC.name, partition=number))
        for acknowledged in waiting:
            await acknowledged
    finally:
        await producer.stop()
