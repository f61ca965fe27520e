"""Profile `ice-foia`: detainers as Immigration and Customs Enforcement released them under the FOIA in 2015.

The file names a facility, a state and a city for each detainer; `services.importer.facilities` finds the authority.
"""

from services.importer.ice_foia.reading import COLUMNS, read

__all__ = [
    "COLUMNS",
    "read",
]
