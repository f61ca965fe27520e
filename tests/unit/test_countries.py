"""schemas.taxonomy.countries: citizenships without an ISO code, and independence of pycountry releases."""

from __future__ import annotations

import subprocess
import sys

import pycountry
import pytest

from schemas import taxonomy
from schemas.acceptance import accept
from schemas.acceptance_fast import accept_fast
from schemas.jurisdiction import registry
from tests.unit.sample_events import encoded, event

# Doc 9303, part 3, section 5, 8th edition.
ICAO = "GBD GBN GBO GBP GBS EUE UNO UNA UNK XBA XIM XCC XCE XCO XDC XEC XES XMP XOM XPO XXA XXB XXC XXX"


@pytest.mark.parametrize("code", ["XKX", "RKS", *ICAO.split()])
def test_a_citizenship_without_an_iso_code_is_accepted(code: str) -> None:
    value = encoded(event("declined", citizenship=code))
    assert accept(value).citizenship == accept_fast(value).citizenship == code
    assert taxonomy.countries().rows[code]["region"]
    assert taxonomy.countries().label(code)


@pytest.mark.parametrize("code", ["XAA", "XZZ", "D", "ZZZ", "XX"])
def test_an_unassigned_code_is_refused(code: str) -> None:
    assert code not in taxonomy.countries()


def test_every_iso_code_is_in_the_table() -> None:
    """A new code is added by hand, with its region. A withdrawn code stays, because it was accepted before."""
    known = {one.alpha_3 for one in (*pycountry.countries, *pycountry.historic_countries)}
    assert known - set(taxonomy.countries()) == set()


_ANOTHER_RELEASE = """
import sys, types
another = types.ModuleType("pycountry")
another.historic_countries = []
another.countries = [types.SimpleNamespace(alpha_3="ZZY", name="Newly Assigned")]
sys.modules["pycountry"] = another
from schemas import acceptance_fast, taxonomy
print(taxonomy.countries().sha256, "MEX" in acceptance_fast._COUNTRIES, "ZZY" in acceptance_fast._COUNTRIES)
"""


def test_the_installed_release_of_pycountry_has_no_effect() -> None:
    """Runs in a separate interpreter, because the lists are cached."""
    done = subprocess.run([sys.executable, "-c", _ANOTHER_RELEASE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [taxonomy.countries().sha256, "True", "False"]


def test_the_registry_is_that_of_the_pinned_data() -> None:
    """The package is pinned to one release. With another release, raise RULES_VERSION and update this digest."""
    assert registry().sha256 == "e2d3977bbba060ef97327b11a98c03ac469376e4eb707d7e5f3e3a50290c879d"
