"""The pytest plugin of probseg: ``pytest --probseg-check projector:radial``.

It adds a test for each check that the contract of a part's kind has. pytest loads it into every
run of everybody who has probseg installed, so nothing heavy is imported until it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from probseg.testing import Check

_OPTION = "--probseg-check"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("probseg").addoption(
        _OPTION,
        action="append",
        default=[],
        metavar="[KIND:]NAME",
        dest="probseg_check",
        help="check that a part keeps the contract of its kind, such as projector:radial; "
        "without files or folders besides, nothing else is collected",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing else where nobody named files."""
    if config.option.probseg_check and config.args_source is not config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among the tests
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the checks to what was collected."""
    for wanted in config.option.probseg_check:
        kind, name = _part(wanted)
        items += PartCollector.from_parent(session, name=f"{kind}:{name}").collect()


class PartCollector(pytest.Collector):
    """The checks of one part."""

    def collect(self) -> list[pytest.Item]:
        """Return an item for each check."""
        from probseg.testing import checks

        kind, _, name = self.name.partition(":")
        return [
            CheckItem.from_parent(self, name=check.__name__, check=check, part=name)
            for check in checks[kind]
        ]


class CheckItem(pytest.Item):
    """One check of one part."""

    def __init__(self, *, check: Check, part: str, **known: Any) -> None:
        super().__init__(**known)
        self.check, self.part = check, part

    def runtest(self) -> None:
        """Run the check."""
        self.check(self.part)

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Say where the part is from, which is no file."""
        assert self.parent is not None
        return "probseg", None, f"{self.parent.name}: {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the reason; where the part itself raised an error, with its traceback."""
        from probseg.testing import ContractError

        if isinstance(excinfo.value, ContractError) and excinfo.value.__cause__ is None:
            return f"{excinfo.value}\n({' '.join((self.check.__doc__ or '').split())})"
        return super().repr_failure(excinfo, style)


def _part(wanted: str) -> tuple[str, str]:
    """Return kind and name from ``KIND:NAME``, or from a name that only one kind has."""
    from probseg.cli.kinds import registry_of, singular
    from probseg.errors import ProbsegError
    from probseg.registry import KINDS

    given, colon, name = wanted.rpartition(":")
    try:
        if colon:
            kind = singular(given, claims=True)
        else:
            kind = _only([one for one in KINDS if name in registry_of(one)], name)
        registry_of(kind)[name]  # an unknown name, or a broken plugin, is told once
    except ProbsegError as error:
        raise pytest.UsageError(f"{_OPTION} {wanted}: {error}") from error
    return kind, name


def _only(kinds: list[str], name: str) -> str:
    from probseg.cli.kinds import registry_of
    from probseg.errors import UnknownNameError
    from probseg.options import did_you_mean
    from probseg.registry import KINDS

    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        choice = " or ".join(f"{kind}:{name}" for kind in kinds)
        raise UnknownNameError(f"several kinds have a {name!r}; say {choice}")
    known = [one for kind in KINDS for one in registry_of(kind)]
    raise UnknownNameError(f"no part is called {name!r}{did_you_mean(name, known)}")
