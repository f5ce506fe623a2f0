"""Which parts of a description other packages offer."""

import pytest

import probseg
from probseg.sharing.config import Requirement, requirements


@pytest.fixture
def inner():
    """A model that only this process knows."""
    probseg.models.register("inner")(object)
    yield "inner"
    probseg.models.unregister("inner")


def test_a_model_within_a_model_is_found(inner):
    spec = {"name": "punet", "model": {"name": inner, "kl": {"name": "kl"}}}
    assert requirements(spec) == (Requirement("model", inner, None, None),)
