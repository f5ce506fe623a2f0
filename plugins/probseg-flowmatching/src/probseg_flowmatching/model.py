"""Conditional flow matching of segmentations, from a base that the image gives."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from probseg.backbones.blocks import set_class_prior
from probseg.interfaces import Backbone
from probseg.models.base import ProbabilisticModel, checked_count
from probseg.models.cross_entropy import CrossEntropy
from probseg.options import check_choice, check_integer, check_number
from probseg.registry.specs import Part, build_part
from probseg.utils.contexts import kept_buffers, normalisation_errors
from probseg.utils.seeding import seeded
from probseg.utils.tensors import IGNORED
from probseg_flowmatching.base import PixelwiseNormal
from probseg_flowmatching.path import METHODS, between, transported
from probseg_flowmatching.states import as_probabilities, coded, coded_label
from probseg_flowmatching.velocity import EndpointNetwork

_LIGHT = {"name": "unet", "channels": [16, 32, 64], "convolutions": 1, "norm": "group"}
_PIXELS = 2**17  # of the states that go through the velocity network together


class FlowMatching(ProbabilisticModel):
    r"""A flow from a Normal that the image gives to segmentations.

    .. math:: s_0 \sim N(\mu(x), \sigma(x)^2), \quad
        \frac{ds_t}{dt} = \frac{E[s_1 | s_t, x] - s_t}{1 - t}, \quad
        E[s_1 | s_t, x] = 2 \, \mathrm{softmax}(f(s_t, t, x)) - 1

    A state s has a number for each pixel and class; at t = 1 it is a segmentation, whose classes
    are coded as ±1. The backbone sees an image x once and gives the base, which is the Normal of
    :math:`s_0`, and features for the velocity network f, which sees each state at each step.

    Args:
        in_channels: C.
        classes: K.
        backbone: The network that sees an image once; most of the parameters.
        velocity: The velocity network f, a backbone as well, and small; it needs to look at the
            whole of what is ambiguous.
        condition: How many channels the velocity network gets of the backbone's features.
        noise: The base's scale in units of the standard deviation of the classes that it predicts.
            The larger it is, the later a sample decides what it is to be.
        steps: Of :meth:`sample`.
        method: Of :meth:`sample`: ``"euler"``, or ``"midpoint"`` with two evaluations a step.
        class_prior: K frequencies whose logarithm is the initial bias of the base.
        reduction: Of the terms over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.

    Raises:
        UnknownNameError: No backbone has that name.
        OptionError: An option is of the wrong type or out of range.

    References:
        Ribeiro et al., "Flow Stochastic Segmentation Networks", ICCV 2025 (the learned base and the
        small network after it); Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023
        (the path); Eijkelboom et al., "Variational Flow Matching for Graph Generation", NeurIPS
        2024 (the cross-entropy of the end).
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        classes: int = 2,
        backbone: Part = "unet",
        velocity: Part = _LIGHT,
        condition: int = 8,
        noise: float = 4.0,
        steps: int = 10,
        method: str = "euler",
        class_prior: list[float] | None = None,
        reduction: str = "pixel-sum",
    ) -> None:
        width = EndpointNetwork.width(
            check_integer("classes", classes, low=2), check_integer("condition", condition)
        )
        check_integer("in_channels", in_channels)
        heavy = build_part("backbones", backbone, Backbone, in_channels=in_channels)
        light = build_part("backbones", velocity, Backbone, in_channels=width)
        super().__init__(
            {
                "name": "flow-matching",
                "in_channels": in_channels,
                "classes": classes,
                "backbone": heavy.spec,
                "velocity": light.spec,
                "condition": condition,
                "noise": check_number("noise", noise),
                "steps": check_integer("steps", steps),
                "method": _checked_method(method),
                "class_prior": None if class_prior is None else list(class_prior),
                "reduction": reduction,
            }
        )
        self.cross_entropy = CrossEntropy(reduction)
        self.backbone = heavy.part
        self.base_logits = nn.Conv2d(heavy.part.out_channels, classes, 1)
        self.condition = nn.Conv2d(heavy.part.out_channels, condition, 1)
        self.velocity = EndpointNetwork(light.part, classes=classes, noise=noise)
        if class_prior is not None:
            set_class_prior(self.base_logits, class_prior)

    @property
    def noise(self) -> float:
        """The base's scale, with which the networks were trained."""
        return self.velocity.noise

    @property
    def steps(self) -> int:
        """The steps of :meth:`sample`; it may be set, and files of the model hold what was set."""
        return int(self.spec["steps"])

    @steps.setter
    def steps(self, steps: int) -> None:
        self.spec["steps"] = check_integer("steps", steps)

    @property
    def method(self) -> str:
        """The method of :meth:`sample`; it may be set, as the steps."""
        return str(self.spec["method"])

    @method.setter
    def method(self, method: str) -> None:
        self.spec["method"] = _checked_method(method)

    def terms(self, features: Tensor, label: Tensor) -> dict[str, Tensor]:
        r"""Return two cross-entropies with the label, on the scale of the other models' terms.

        .. math:: -\log p(y | s_t, x), \; s_t = (1 - t) s_0 + t (2 y - 1); \quad -\log \pi(y | x)

        The first, of the flow, has the same minimiser as the squared error of its velocity; t is
        uniform, and evenly spread over the batch. The second alone trains the base: the first is
        least for a base without any scale. At pixels that nobody labelled a state goes to a class
        that is drawn from π: in sampling it does not stay at its start there either.
        """
        logits = self.base_logits(features)
        base = PixelwiseNormal.of_logits(logits, self.noise)
        start = base.sample(1)[0]
        known = torch.where(label == IGNORED, base.classes(), label)
        end = coded_label(known, self.classes).to(start.dtype)
        time = _spread_times(start)
        with normalisation_errors():
            state = between(start, end, time)
            ends = self.velocity(state, time, base, self.condition(features))
        return {
            "flow_matching": self.cross_entropy(ends, label),
            "base": self.cross_entropy(logits, label),
        }

    @torch.no_grad()
    def sample(
        self,
        image: Tensor,
        n: int,
        *,
        generator: Generator | None = None,
        steps: int | None = None,
        method: str | None = None,
    ) -> Tensor:
        """Return probabilities (n, B, K, H, W) of n segmentations of each image.

        The cost is that of the backbone, and of n times ``steps`` evaluations of the velocity
        network.
        One step gives the mean of the annotations, n times. The memory besides the samples does not
        grow with n.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            n: Samples of each image.
            generator: Makes the samples reproducible.
            steps: Of the solver; None is the model's.
            method: ``"euler"`` or ``"midpoint"``; None is the model's.

        Raises:
            InputError: The image is not what the model was built for.
            OptionError: There is no such method, or no step.
        """
        steps = check_integer("steps", self.steps if steps is None else steps)
        method = _checked_method(self.method if method is None else method)
        image, count = self._image(image, values=True), checked_count(n)
        autocast_off = torch.autocast(image.device.type, enabled=False)
        with kept_buffers(self):
            with self._networks_seeded(generator, image):
                features = self.features(image)
            with autocast_off, seeded(generator, image.device), normalisation_errors():
                drawn = self.draw(features, count, steps=steps, method=method)
                return self.calibration.of_probabilities(drawn)

    def draw(
        self, features: Tensor, n: int, *, steps: int | None = None, method: str | None = None
    ) -> Tensor:
        """Return n segmentations (n, B, K, H, W), as :meth:`sample`, of features (B, F, H, W)."""
        base = PixelwiseNormal.of_logits(self.base_logits(features), self.noise)
        condition = self.condition(features)
        states = base.sample(n)
        together = max(1, _PIXELS // base.mean[:, 0].numel())
        for chunk in states.split(together):  # is overwritten, so that memory does not grow with n
            ends = self._ends(
                chunk, base, condition, steps=steps or self.steps, method=method or self.method
            )
            chunk.copy_(ends)
        return states

    def _ends(
        self,
        starts: Tensor,
        base: PixelwiseNormal,
        condition: Tensor,
        *,
        steps: int,
        method: str,
    ) -> Tensor:
        """Return probabilities (n, B, K, H, W) of states (n, B, K, H, W)."""
        n = len(starts)
        repeated_base = PixelwiseNormal(*(_repeated(part, n) for part in base))
        repeated_condition = _repeated(condition, n)

        def endpoint(state: Tensor, time: Tensor) -> Tensor:
            logits = self.velocity(state, time, repeated_base, repeated_condition)
            return coded(logits.softmax(dim=1))

        end = transported(endpoint, starts.flatten(0, 1), steps=steps, method=method)
        return as_probabilities(end).view_as(starts)


def _repeated(tensor: Tensor, n: int) -> Tensor:
    """Return (n B, …) of (B, …)."""
    return tensor.expand(n, *tensor.shape).flatten(0, 1)


def _spread_times(states: Tensor) -> Tensor:
    """Return a time (B,) for each state, of which each B-th of [0, 1] has one."""
    first = torch.rand(1, dtype=states.dtype, device=states.device)
    places = torch.arange(len(states), dtype=states.dtype, device=states.device)
    return (places + first) / len(states)


def _checked_method(method: str) -> str:
    check_choice("method", method, METHODS)
    return method
