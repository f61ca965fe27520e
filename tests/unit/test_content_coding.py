"""services.runtime.negotiation.coding: Accept-Encoding with weights, wildcards and malformed elements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.publisher.site.compression import CODINGS
from services.runtime.negotiation import IDENTITY, coding


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ([], IDENTITY), ([""], IDENTITY), ([" , "], IDENTITY), (["identity"], IDENTITY), (["br"], IDENTITY),
        (["gzip"], "gzip"), (["zstd"], "zstd"), (["x-gzip"], "gzip"), (["GZIP"], "gzip"), (["*"], "gzip"),
        (["gzip, deflate, br, zstd"], "zstd"), (["gzip", "zstd"], "zstd"), (["gzip, identity"], "gzip"),
        (["gzip;q=0.8, zstd;q=0.7"], "gzip"), (["gzip;q=0.1"], "gzip"), (["gzip ; Q=0.1 , zstd;q=0"], "gzip"),
        (["identity;q=1, gzip;q=0.5"], IDENTITY), (["identity;q=0.5, gzip;q=0.2, zstd;q=0.3"], IDENTITY),
        (["identity;q=0.2, gzip;q=0.5"], "gzip"), (["gzip;q=0"], IDENTITY), (["gzip;q=0, zstd;q=0.000"], IDENTITY),
        (["*;q=0.5, gzip;q=0.1"], IDENTITY), (["*, gzip;q=0"], IDENTITY), (["*;q=0, zstd"], "zstd"),
        (["identity;q=0"], None), (["*;q=0"], None), (["identity;q=0, br"], None), (["gzip;q=0, *;q=0"], None),
        (["identity;q=0, *"], "gzip"), (["*;q=0, identity"], IDENTITY), (["identity;q=0, gzip;q=0.001"], "gzip"),
        (["gzip;q=x"], IDENTITY), (["gzip;q=-1, zstd;q=0.1"], "zstd"), (["gzip;q=2"], IDENTITY), (["gz ip"], IDENTITY),
        (['"gzip, zstd'], IDENTITY), ([";q=1"], IDENTITY), (["gzip;q=0.5, gzip;q=0"], "gzip"),
        (["gzip;level=9"], "gzip"),
    ],
)  # fmt: skip
def test_a_coding_is_chosen_by_weight_then_by_the_order_of_the_server(accepted: list[str], chosen: str | None) -> None:
    assert coding(accepted, CODINGS) == chosen


@pytest.mark.parametrize(("accepted", "chosen"), [("gzip", IDENTITY), ("gzip, identity;q=0", None), ("*;q=0", None)])
def test_without_an_offered_coding_only_identity_is_left(accepted: str, chosen: str | None) -> None:
    assert coding([accepted], ()) == chosen


@given(st.lists(st.text(alphabet='gzipstdentyx*;,=q0.1 "\\\t', max_size=60), max_size=3))
def test_any_header_has_an_answer(accepted: list[str]) -> None:
    assert coding(accepted, CODINGS) in {*CODINGS, IDENTITY, None}
