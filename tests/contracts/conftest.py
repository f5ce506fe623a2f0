"""How a fault is shown to be refused."""

import re
from collections.abc import Callable

import pytest

from probseg.testing import ContractError, Part, check, checks


@pytest.fixture(scope="session")
def refuses() -> Callable[[str, str, Part], None]:
    """A function that makes sure one named check refuses a part, and says which check it was."""

    def refuses(kind: str, name: str, part: Part) -> None:
        (one,) = [c for c in checks[kind] if c.__name__ == name]
        with pytest.raises(ContractError, match=re.escape(f": {name}: expected ")) as error:
            one(part)
        assert str(error.value).startswith(f"{kind} ")
        with pytest.raises(ContractError):
            check(kind, part)

    return refuses
