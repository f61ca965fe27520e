"""One spelling for the many that the file has: 'F.C.I.', 'CNTY', 'Detent. Facili' and 'ST. LOUIS'."""

import re
import unicodedata

_INITIALS = re.compile(r"(?<![A-Z])((?:[A-Z]\.)+[A-Z](?![A-Z])\.?|(?:[A-Z]\.){2,})")
_SEPARATOR = re.compile(r"[^A-Z0-9*]+")

_WORDS = {
    **dict.fromkeys(("CO", "CNTY", "CTY", "COUNTYY", "COUNT"), "COUNTY"),
    "PAR": "PARISH",
    **dict.fromkeys(("DEPARTMENT", "DPT"), "DEPT"),
    "PD": "POLICE DEPT",
    "POL": "POLICE",
    **dict.fromkeys(("COR", "CORRS"), "CORR"),
    **dict.fromkeys(("INSTITUTION", "INSTITUTE", "INSTITUT", "INSTR"), "INST"),
    **dict.fromkeys(("FACILITY", "FACILI", "FACI"), "FAC"),
    **dict.fromkeys(("CTR", "CNTR", "CENTE", "CNT", "CRT"), "CENTER"),
    **dict.fromkeys(("DETENTION", "DETENT", "DETN"), "DET"),
    "FED": "FEDERAL",
    "FEDERAL": "FEDERAL",
    **dict.fromkeys(("REG", "REGION"), "REGIONAL"),
    **dict.fromkeys(("SHERIFFS", "SHERRIFS", "SHERRIF"), "SHERIFF"),
}
_LEADING = {"ST": "SAINT", "STE": "SAINTE", "FT": "FORT", "MT": "MOUNT"}
_COMPASS = {"N": "NORTH", "S": "SOUTH", "E": "EAST", "W": "WEST"}


def words(text: str) -> list[str]:
    """A facility's name as words, abbreviations of one term made one. '*' stays: patterns are spelt alike."""
    found = [_WORDS.get(word, word) for word in _split(text)]
    found = ["CORR" if word.startswith("CORREC") else word for word in found]
    if found:
        found[0] = _LEADING.get(found[0], found[0])
    return " ".join(found).split()


def place(text: str) -> str:
    """The key of a city's or county's name: 'St. Louis', 'SAINT LOUIS' and 'De Kalb', 'DeKalb' are equal."""
    found = [_LEADING.get(word, word) for word in _split(text)]
    if len(found) > 1:
        found[0] = _COMPASS.get(found[0], found[0])
    return "".join(found)


def _split(text: str) -> list[str]:
    """Upper-case ASCII words; initials are joined ('F.C.I.' is FCI) and any other sign separates."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper().replace("'", "")
    joined = _INITIALS.sub(lambda match: match[0].replace(".", "") + " ", folded)
    return _SEPARATOR.sub(" ", joined).split()
