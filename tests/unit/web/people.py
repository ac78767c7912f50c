"""A family and offices in the town: what the civil registry records, and what an officer does."""

from unit.records.fakes import identity

REGISTRAR = {"scope": "officer", "department": "civil-registry", "sub": "registrar"}
RESCUER = {"scope": "officer", "department": "emergency-desk", "sub": "rescuer"}
SECOND = {"scope": "officer", "department": "emergency-desk", "sub": "second"}


async def linked(town, department, who):
    """Somebody's pseudonym at a department."""
    token = {"scope": "department", "department": department}
    answer = await town.city.call("POST", "/v1/links", {"identities": [who]}, token)
    return answer.json()["pseudonyms"][0]


async def appoint(town, guardian, ward, relation="parent", **more):
    """Record a guardianship between two identities."""
    g, w = await linked(town, "civil-registry", guardian), await linked(town, "civil-registry", ward)
    body = {"guardian": g, "relation": relation, "evidence": "EC-2018/114", "valid_from": "2018-06-01T00:00:00Z"}
    answer = await town.city.call("POST", f"/v1/subjects/{w}/guardians", {**body, **more}, REGISTRAR)
    assert answer.status_code == 200, answer.text


def child(name="Petit", born="2018-03-14"):
    """An identity of a minor."""
    return {**identity(name), "birth_date": born}


async def family(town, born="2018-03-14"):
    """A child and two parents: (the child's pseudonym at the desk, mother, father)."""
    kid = child(born=born)
    mother, father = await town.citizen("Mère"), await town.citizen("Père")
    pseudonym = await linked(town, town.manifest.desk, kid)
    for parent in ("Mère", "Père"):
        await appoint(town, identity(parent), kid)
    return pseudonym, mother, father


async def opened(town, name="Durand"):
    """Open somebody's heat plan record for their life; return (at the emergency desk, the override)."""
    at_desk = await linked(town, "emergency-desk", identity(name))
    body = {"agreements": ["heat-plan"], "reason_code": "heatwave", "hours": 24}
    answer = await town.city.call("POST", f"/v1/subjects/{at_desk}/overrides", body, RESCUER)
    assert answer.status_code == 200, answer.text
    return at_desk, answer.json()["acknowledgement"]
