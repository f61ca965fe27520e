"""Normalizes the spellings in the files: 'F.C.I.', 'CNTY', 'Detent. Facili' and 'ST. LOUIS'."""

import re
import unicodedata

_INITIALS = re.compile(r"(?<![A-Z])((?:[A-Z]\.)+[A-Z](?![A-Z])\.?|(?:[A-Z]\.){2,})")
_SEPARATOR = re.compile(r"[^A-Z0-9*]+")

_WORDS = {
    **dict.fromkeys(("CO", "CNTY", "CTY", "COUNTYY", "COUNT", "CNTRY"), "COUNTY"),
    **dict.fromkeys(("PAR", "PARRISH"), "PARISH"),
    **dict.fromkeys(("DEPARTMENT", "DPT", "DEPARTMEN", "DEPARTM"), "DEPT"),
    "PD": "POLICE DEPT",
    **dict.fromkeys(("POL", "POLIC"), "POLICE"),
    **dict.fromkeys(("COR", "CORRS", "CORRE"), "CORR"),
    "INSTR": "INST",
    **dict.fromkeys(("FACI", "FACLTY", "FCLTY"), "FAC"),
    **dict.fromkeys(("CTR", "CNTR", "CENTE", "CENTR", "CNT", "CRT"), "CENTER"),
    **dict.fromkeys(("DETN", "DETENT", "DENTENTION"), "DET"),
    "FED": "FEDERAL",
    "FEDL": "FEDERAL",
    **dict.fromkeys(("REG", "REGL"), "REGIONAL"),
    **dict.fromkeys(("SHRF", "SHERIFFS"), "SHERIFF"),
    **dict.fromkeys(("JUV", "JUVEN", "JUVY"), "JUVENILE"),
    **dict.fromkeys(("HOSP", "HOSPTL", "HOPSITAL"), "HOSPITAL"),
    **dict.fromkeys(("PROCESS", "PROC"), "PROCESSING"),
    "MUNI": "MUNICIPAL",
    "HOLDROOM": "HOLD ROOM",
    "COUNTYJAIL": "COUNTY JAIL",
    "SUBOFFICE": "SUB OFFICE",
}
# A released name has at most 25 or 50 characters, so that its last word may be cut off anywhere.
_STEMS = (
    ("CORREC", "CORR"),
    ("INSTIT", "INST"),
    ("FACIL", "FAC"),
    ("DETEN", "DET"),
    ("SHERIF", "SHERIFF"),
    ("SHERRIF", "SHERIFF"),
    ("HOSPIT", "HOSPITAL"),
    ("JUVENI", "JUVENILE"),
    ("REGION", "REGIONAL"),
)
_LEADING = {"ST": "SAINT", "STE": "SAINTE", "FT": "FORT", "MT": "MOUNT"}
_COMPASS = {"N": "NORTH", "S": "SOUTH", "E": "EAST", "W": "WEST"}


def words(text: str) -> list[str]:
    """The words of a facility's name, with normalized abbreviations. Keeps '*', for patterns."""
    found = [_WORDS.get(word) or _stem(word) for word in _split(text)]
    if found:
        found[0] = _LEADING.get(found[0], found[0])
        if len(found) > 1 and found[-1] == "SO":
            found[-1] = "SHERIFF"
    return " ".join(found).split()


def place_key(text: str) -> str:
    """The key of a city's or county's name. 'St. Louis' equals 'SAINT LOUIS', and 'De Kalb' equals 'DeKalb'."""
    found = [_LEADING.get(word, word) for word in _split(text)]
    if len(found) > 1:
        found[0] = _COMPASS.get(found[0], found[0])
    return "".join(found)


def close(one: str, other: str) -> bool:
    """Whether two keys are equal up to one error, or two if both have six letters or more.

    An error is a letter too many, too few, or wrong, or two letters in the wrong order.
    """
    most = 2 if min(len(one), len(other)) > 5 else 1
    return min(len(one), len(other)) > 3 and abs(len(one) - len(other)) <= most and _errors(one, other) <= most


def _errors(one: str, other: str) -> int:
    """The distance of Damerau and Levenshtein, without a second change of swapped letters."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        last, before, row = before, row, [i]
        for j, match in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != match))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == match:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _stem(word: str) -> str:
    return next((short for stem, short in _STEMS if word.startswith(stem) and "*" not in word), word)


def _split(text: str) -> list[str]:
    """The upper-case ASCII words. Initials are joined ('F.C.I.' is FCI); any other character separates words."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper().replace("'", "")
    joined = _INITIALS.sub(lambda match: match[0].replace(".", "") + " ", folded.replace("&", " AND "))
    return _SEPARATOR.sub(" ", joined).split()
