"""The radial flow keeps the contract of every projector."""

import pytest

from probseg.testing import checks


@pytest.mark.parametrize("check", checks["projector"], ids=lambda check: check.__name__)
def test_radial_keeps_the_contract(check):
    check("radial")
