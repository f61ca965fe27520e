"""Partitions, record addresses and vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.log import AddressError, Partition, RecordAddress, Vector

_PARTITIONS = st.builds(Partition, st.sampled_from(["detainer-issued", "detainer-declined"]), st.integers(0, 40))
_VECTORS = st.builds(Vector, st.dictionaries(_PARTITIONS, st.integers(0, 2**53)))

ISSUED_3 = Partition("detainer-issued", 3)
DECLINED_0 = Partition("detainer-declined", 0)


@given(_PARTITIONS, st.integers(-(10**17), 10**17))
def test_an_address_is_read_as_it_is_written(partition: Partition, offset: int) -> None:
    assert Partition.parse(str(partition)) == partition
    address = RecordAddress(partition, offset)
    assert RecordAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "detainer-issued", "detainer-issued/3/4", "detainer-issued/x", "A/1", "a/123456"])
def test_a_partition_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(AddressError, match="such as detainer-issued/3"):
        Partition.parse(text)


@pytest.mark.parametrize("text", ["", "detainer-issued/3", "detainer-issued/3/", "detainer-issued/3/4/5", "a/1/1e3"])
def test_a_record_address_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(AddressError, match="such as detainer-issued/3/1742"):
        RecordAddress.parse(text)


@given(_VECTORS)
def test_the_json_form_of_a_vector_gives_the_same_vector(vector: Vector) -> None:
    assert Vector.from_json(vector.to_json()) == vector


def test_the_json_form_names_topic_and_partition() -> None:
    vector = Vector({ISSUED_3: 1742, DECLINED_0: 0})
    assert vector.to_json() == {"detainer-declined": {"0": 0}, "detainer-issued": {"3": 1742}}


@pytest.mark.parametrize("value", [{"detainer-issued": {"x": 1}}, {"detainer-issued": {"1": "x"}}])
def test_a_vector_with_other_values_than_integers_is_refused(value: dict[str, dict[str, object]]) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Vector.from_json(value)


def test_a_vector_covers_the_records_below_it() -> None:
    vector = Vector({ISSUED_3: 10})
    assert vector.covers(ISSUED_3, 9)
    assert not vector.covers(ISSUED_3, 10)
    assert not vector.covers(DECLINED_0, 0)
    assert vector.covers(DECLINED_0, -1)


def test_the_shortfall_names_only_partitions_that_lack_offsets() -> None:
    barrier = Vector({ISSUED_3: 10, DECLINED_0: 4})
    assert barrier.shortfall(Vector({ISSUED_3: 7, DECLINED_0: 9})) == {ISSUED_3: 3}
    assert barrier.shortfall(Vector()) == {ISSUED_3: 10, DECLINED_0: 4}


@given(_VECTORS)
def test_a_vector_lacks_nothing_of_itself(vector: Vector) -> None:
    assert vector.shortfall(vector) == {}
