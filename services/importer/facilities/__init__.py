"""Facilities in released files: the authority that runs a jail, from its name, state and city. Shared by the profiles.

`resolve` never guesses: if the names do not determine the authority, the result is a reason.
docs/decisions/0022-facilities-to-jurisdictions.md lists the rules in their order.
"""

from services.importer.facilities.resolving import Resolved, Unresolved, resolve

__all__ = [
    "Resolved",
    "Unresolved",
    "resolve",
]
