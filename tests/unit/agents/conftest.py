from pathlib import Path

import pytest

from passerelle.agents.declared import Declarations
from passerelle_consent.policy.flows import load_flows
from passerelle_schemas.catalogue import Catalogue

SCHEMAS = Path(__file__).parents[3] / "schemas"


@pytest.fixture(scope="session")
def catalogue():
    return Catalogue.load(SCHEMAS / "contracts")


@pytest.fixture(scope="session")
def flows():
    return [flow for _, flow in load_flows(SCHEMAS / "flows")]


@pytest.fixture
def app(catalogue, flows):
    return Declarations("test", catalogue=catalogue, flows=flows)
