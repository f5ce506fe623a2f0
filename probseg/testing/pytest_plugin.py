"""The pytest plugin of probseg: ``pytest --probseg-check projector:radial``.

It adds a test for each check of the contract. pytest loads it into every run where probseg is
installed, so nothing heavy is imported until the option is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from probseg.testing import Check

_OPTION = "--probseg-check"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--probseg-check``."""
    parser.getgroup("probseg").addoption(
        _OPTION,
        action="append",
        default=[],
        metavar="[KIND:]NAME",
        dest="probseg_check",
        help="check that a part keeps the contract of its kind, such as projector:radial; "
        "unless files or folders are named too, nothing else is collected",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing else unless files are named."""
    if config.option.probseg_check and config.args_source is not config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among the tests
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the checks to the collected tests."""
    from probseg.testing import checks

    for argument in config.option.probseg_check:
        kind, name = _part(argument)
        for check in checks[kind]:
            test = f"{kind}:{name}::{check.__name__}"
            items.append(CheckItem.from_parent(session, name=test, check=check, part=name))


class CheckItem(pytest.Item):
    """One check of one part."""

    def __init__(self, *, check: Check, part: str, **options: Any) -> None:
        super().__init__(**options)
        self.check, self.part = check, part

    def runtest(self) -> None:
        """Run the check."""
        self.check(self.part)

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Name the part; it has no test file."""
        return "probseg", None, self.name.replace("::", ": ")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the reason, and the traceback only where the part itself raised an error."""
        from probseg.testing import ContractError

        if isinstance(excinfo.value, ContractError) and excinfo.value.__cause__ is None:
            return f"{excinfo.value}\n({' '.join((self.check.__doc__ or '').split())})"
        return super().repr_failure(excinfo, style)


def _part(argument: str) -> tuple[str, str]:
    """Return contract and name from ``KIND:NAME``, or from a name that only one kind has."""
    from probseg.errors import ProbsegError
    from probseg.registry import registry, singular
    from probseg.testing import CONTRACTS

    kind, colon, name = argument.rpartition(":")
    try:
        contract = singular(kind, CONTRACTS) if colon else _only_kind(name)
        registry(CONTRACTS[contract])[name]  # an unknown name or a broken plugin is reported once
    except ProbsegError as error:
        raise pytest.UsageError(f"{_OPTION} {argument}: {error}") from error
    return contract, name


def _only_kind(name: str) -> str:
    """Return the one kind that has a part of this name.

    Raises:
        UnknownNameError: None has, or several have.
    """
    from probseg.errors import UnknownNameError
    from probseg.options import did_you_mean
    from probseg.registry import KINDS, registry

    kinds = [kind for kind in KINDS if name in registry(KINDS[kind])]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        choice = " or ".join(f"{kind}:{name}" for kind in kinds)
        raise UnknownNameError(f"several kinds have a part called {name!r}; say {choice}")
    names = [one for kinds in KINDS.values() for one in registry(kinds)]
    raise UnknownNameError(f"no part is called {name!r}{did_you_mean(name, names)}")
