"""Parts that a model has two of, one of the prior and one of the posterior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

from probseg.errors import OptionError
from probseg.registry.specs import BuiltPart, Part, Spec, build_part


class PartPair(NamedTuple):
    """The prior's and the posterior's part of a kind."""

    prior: BuiltPart
    posterior: BuiltPart

    @property
    def spec(self) -> Spec:
        """One description where one describes both."""
        prior: Spec = self.prior.spec
        posterior: Spec = self.posterior.spec
        return prior if prior == posterior else {"prior": prior, "posterior": posterior}


def build_pair(kinds: str, part: Part, interface: type, fixed_p: Spec, fixed_q: Spec) -> PartPair:
    """Build the prior's part of a kind and the posterior's, of one description or of two.

    Raises:
        OptionError: It is one ready object.
    """
    if not isinstance(part, (str, Mapping)):
        raise OptionError(
            f"the model has two {kinds}, and {type(part).__name__} is one ready object; pass a "
            'name, a mapping with a name, or {"prior": one, "posterior": another}'
        )
    pair: Mapping[str, Part] = part if is_pair(part) else {"prior": part, "posterior": part}
    return PartPair(
        build_part(kinds, pair["prior"], interface, **fixed_p),
        build_part(kinds, pair["posterior"], interface, **fixed_q),
    )


def is_pair(part: Part) -> TypeGuard[Mapping[str, Part]]:
    """Return whether a part is given as two, of the prior and of the posterior."""
    return isinstance(part, Mapping) and set(part) == {"prior", "posterior"}
