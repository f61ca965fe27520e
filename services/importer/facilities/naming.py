"""What the words of a facility's name say: whose facility it is, and which county or city it names. Pure."""

import re

from services.importer.facilities.geography import alike, counties_of, county_named
from services.importer.facilities.spelling import words

FEDERAL = re.compile(
    r"\bUS MARSHALL?S?\b|\bUSMS?\b|\bUS PEN|\bHOLD ROOM|\bCONTRACT DET\b|\bMET DET CENTER\b"
    r"|\bFEDERAL (?!WAY\b|HEIGHTS\b)|\bFEDERAL$|^(CI|FTC) |\bUS IMMIGRATION\b|\bIMMIGRATION (CENTER|DET|PROC)"
    r"|\b(FCI|FCC|FMC|FDC|FPC|MCC|USP|SPC|BSCC|BOP|DRO|ERO|ICE|USBP|CBP|DDP|DD AND P|INS)\b|\bBORDER PATROL\b"
    r"|(?<!POLICE )(?<!DEPT )(?<!CITY )(?<!COUNTY )\bHOLD( RM)?$|\bPROCESSING CENTER\b"
    r"|\bCIVIL DET|\bSTAGING FAC|\bFAMILY RES|^DHS\b|\bPORT OF ENTRY\b|\bPOE\b"
)
"""Marshals, the Bureau of Prisons ('CI EDEN' is how it names contract prisons), and immigration's own facilities."""
FEDERAL_OFFICE = re.compile(r"\b(DIST|DISTRICT|FIELD|SUB) OFFICE\b|\bHOLDING ROOM\b")
"""Immigration's too, unless the name gives another owner."""
OTHER_OFFICE = re.compile(r"\b(SHERIFF|POLICE|PAROLE|PROBATION|COUNTY|STATE)\b")
STATE_FIRST = re.compile(r"\bSTATE (PRISON|JAIL|PEN|PENITENTIARY|CORR|HOSPITAL|REFORMATORY|POLICE|PATROL)\b")
"""A state's facility even if the name has a county, such as 'TRAVIS COUNTY STATE JAIL'."""
STATE = re.compile(
    r"\bSTATE JAIL\b|\b(STATE|ST) (PRISON|PRIS|PRS|PEN|PENN|PENT|P|PENITENTIARY|CORR|HOSPITAL|POLICE)\b"
    r"|\bSTATE PR?I?$|\bPENITENTIAR"
    r"|\bHIGHWAY PATROL\b|\bREFORMATORY\b"
    r"|\b(DEPT|DIVISION|DIV) OF (JUVENILE JUSTICE|YOUTH)|\bYOUTH (AUTHORITY|CORR)"
    r"|(?<!INMATE )\bRECEP(T|TION)?\b|\bDIAGN(OSTIC)?\b"
)
TRIBE = re.compile(r"\b(TRIBAL|TRIBES?|NATION|PUEBLO OF|INDIAN (RES|COMMUNITY|POLICE|DET)|BIA)\b|\bINDIAN RESERV")
DEPT_OF_CORR = re.compile(r"^(.*?)\b(?:DEPT (?:OF )?CORR|DOC|DOCCS)\b")
COMPANY = re.compile(
    r"\b(CCA|CORECIVIC|WACKENHUT|GEO|GEO GROUP|MTC|M AND TC|CEC|CORNELL|EMERALD|LASALLE CORR|CORR CORPORATION)\b"
)
"""A company's name does not tell for which authority it runs the facility."""
HOSPITAL = re.compile(
    r"\bHOSPITALS?\b|\bMEDICAL\b|\bMED (CENTER|C)\b|\bHEALTH\b|\bHEALTHCARE\b|\bCLINIC\b|\bPSYCH|\bBEHAVIORAL\b"
    r"|\bNURSING\b"
)
REGIONAL = re.compile(
    r"\bREGIONAL (JAIL|DET|ADULT|CORR|JUSTICE|JUVENILE|LAW|SECURITY|SECURE|PUBLIC|FAC)"
    r"|\bRRJ\b"
)
SEVERAL_COUNTIES = re.compile(r"^(TRI|BI|MULTI|TWO|THREE|FOUR|FIVE|SIX|SEVEN) ?COUNTY\b")
LOCAL = re.compile(
    r"\b(MUNICIPAL|POLICE|SHERIFF|NYC|NYPD|NEW YORK CITY|TOWN|VILLAGE|LOCKUP|BOROUGH)\b|\b(CITY|COUNTY) (OF|JAIL)\b"
)
"""A facility that no state runs, so that no pattern of state prisons applies."""
CUSTODY = re.compile(r"\b(JAIL|CORR|DET|PRE ?TRIAL|PRISON|CC|CF|CI|REFORMATORY|PENAL|INST)\b")
BEFORE_CORR = re.compile(r"^(.+?) (?:CORR (?!INST)|CORR$|CC\b|CF\b)")
"""The name of what may be a county's or a city's. A 'correctional institution' is a state's."""
ALWAYS_A_COUNTYS = {
    "CA": re.compile(r"\bJUVENILE HALL\b|\bHONOR (FARM|RANCH|CAMP)\b|\bPROBATION\b"),
    "MA": re.compile(r"\bHOUSE OF CORR\b|\bHOC\b"),
    "NH": re.compile(r"\bHOUSE OF CORR\b"),
}
"""California's counties run juvenile halls and honor farms; the sheriffs of New England run houses of correction."""
SHERIFF = re.compile(r"^(.+?) (?:SHERIFF|SHRF)\b")
JAIL = re.compile(
    r"^(.+?) (?:(?:MAIN|CENTRAL|METRO) )?(?:JAIL|(?:ADULT|MAIN|JUVENILE) (?:DET|CORR|FAC)|(?:CRIMINAL )?JUSTICE CENTER"
    r"|JUVENILE (?:HALL|CENTER|JUSTICE|PROB)|LAW ENF(?:ORCEMENT)?|LEC|WORKHOUSE|HOUSE OF CORR)\b"
)
"""Words for a county's jail. A mere 'detention center' may be one that a company runs for a federal agency."""

_POLICE = re.compile(
    r"^(?:(?:CITY|TOWN|VILLAGE|BOROUGH) OF )?(.+?)(?: (?:TOWNSHIP|TWP|METRO|METROPOLITAN))?"
    r" (?:POLICE|LOCKUP|MUNICIPAL|(?:DEPT OF )?PUBLIC SAFETY)\b"
)
_CITY_JAIL = re.compile(r"^CITY OF (.+) (?:JAIL|DET|CORR)\b|^(.+?)( CITY)? JAIL$|^(.+?) CITY (?:DET|CORR|HOLD|JUSTICE)")
_SEGMENTS = re.compile(r"[/,()]"), re.compile(r"[/,()-]")
_COUNTY_OF = re.compile(r"\b(?:COUNTY|PARISH) OF (.+?) (?:JAIL|SHERIFF|DET|CORR|$)")


def is_of_the_state(before: str, state: str, postal: str) -> bool:
    """Whether a department is the state's: the words before it are none, or have the state's name or its beginning."""
    first = words(state)[:1]
    return not before.strip() or any(
        word == postal or word in first or (len(word) > 2 and any(name.startswith(word) for name in first))
        for word in before.split()
    )


def counties_named(facility: str) -> list[str]:
    """'SILVERDALE/HAMILTON COUNTY' names HAMILTON; the CO of 'EL PASO COUNTY JAIL (CO)' is Colorado.

    A hyphen may separate words or be part of the county's name, as in Miami-Dade.
    """
    found = []
    for segment in (part for pattern in _SEGMENTS for part in pattern.split(facility)):
        spelt = words(segment)
        ends = [spelt.index(word, 1) for word in ("COUNTY", "PARISH") if word in spelt[1:]]
        if ends:
            found.append(" ".join(spelt[: min(ends)]))
    if not found and (named := _COUNTY_OF.search(" ".join(words(facility)))):
        found.append(named[1])
    return found


def endings(name: str) -> list[str]:
    """The name and its endings after the first words: 'OLD TOWN' gives 'OLD TOWN' and 'TOWN'."""
    spelt = name.split()
    return [" ".join(spelt[start:]) for start in range(len(spelt))]


def without_state(facility: str, state: str, postal: str) -> str:
    """The name without the state in parentheses, which may stand anywhere: 'MECKLENBURG (NC) CO JAIL'."""
    return re.sub(rf"\(\s*(?:{re.escape(postal)}|{re.escape(state)})\.?\s*\)", " ", facility, flags=re.IGNORECASE)


def city_named(name: str, city: str) -> str | None:
    """'OKLAHOMA CITY JAIL' names Oklahoma City if the row's city is that, else Oklahoma. 'X JAIL' needs the city X."""
    if police := _POLICE.search(name):
        return police[1]
    if not (jail := _CITY_JAIL.search(name)):
        return None
    if jail[1]:
        return jail[1]
    if jail[4]:
        return jail[4] if alike(jail[4], city) else None
    if jail[3]:
        return jail[2] + jail[3] if alike(jail[2] + jail[3], city) else jail[2]
    return jail[2] if alike(jail[2], city) else None


def is_municipal(name: str, postal: str, city: str) -> bool:
    """Whether 'CITY' means a city's facility and is not part of a place's name, such as Jefferson City."""
    before, found, _ = name.partition(" CITY ")
    return bool(found) and not alike(f"{before} CITY", city) and not counties_of(postal, f"{before} CITY")


def is_county(name: str, postal: str, around: frozenset[str]) -> str | None:
    """The GEOID of the county of this name, if the row's city may be in it."""
    geoid = county_named(postal, name)
    return geoid if geoid in around else None
