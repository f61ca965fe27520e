"""Profile `ice-foia`: detainers as Immigration and Customs Enforcement released them under the FOIA.

The file names a facility, a state and a city for each detainer; `resolve` finds the authority that ran it.
Nothing here guesses: what the names do not decide is a reject with its reason.
"""

from services.importer.ice_foia.reading import COLUMNS, count_rows, read
from services.importer.ice_foia.resolving import Resolved, Unresolved, resolve

__all__ = [
    "COLUMNS",
    "Resolved",
    "Unresolved",
    "count_rows",
    "read",
    "resolve",
]
