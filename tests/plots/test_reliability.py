"""The reliability diagram shows its bins, on one scale with the diagonal."""

import numpy as np
import pytest

from probseg.metrics.reliability import Reliability
from probseg.plots import reliability_diagram

ONE = Reliability(
    np.array([80.0, 0.0, 20.0]), np.array([8.0, 0.0, 18.0]), np.array([4.0, 0.0, 12.0])
)


def test_points_are_the_means_of_the_bins_that_have_pixels() -> None:
    figure = reliability_diagram({"mine": ONE}, colours={"mine": "#009E73"})
    upper, lower = figure.axes
    diagonal, curve = upper.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    np.testing.assert_allclose(curve.get_xdata(), [0.1, 0.9])
    np.testing.assert_allclose(curve.get_ydata(), [0.05, 0.6])
    assert curve.get_color() == "#009E73"
    texts = [text.get_text() for text in upper.get_legend().get_texts()]
    assert texts == ["calibrated", "mine (error 0.100)"]
    (counts,) = lower.lines
    np.testing.assert_allclose(counts.get_xdata(), [1 / 6, 5 / 6])
    assert list(counts.get_ydata()) == [80, 20] and lower.get_yscale() == "log"


def test_a_system_without_pixels_has_no_points() -> None:
    figure = reliability_diagram({"mine": ONE, "none": Reliability.empty()})
    assert len(figure.axes[0].lines[2].get_xdata()) == 0
    assert figure.axes[0].get_legend().get_texts()[2].get_text() == "none (error nan)"


def test_systems_differ_in_colour() -> None:
    lines = reliability_diagram({"a": ONE, "b": ONE}).axes[0].lines
    assert lines[1].get_color() != lines[2].get_color()


@pytest.mark.parametrize("name", ["mine", "_mine", "a$\\foo$", "<i>"])
def test_any_name_can_be_saved_and_stands_in_the_legend(tmp_path, name) -> None:
    figure = reliability_diagram({name: ONE})
    figure.savefig(tmp_path / "diagram.svg")
    assert figure.axes[0].get_legend().get_texts()[1].get_text() == f"{name} (error 0.100)"


def test_no_pixel_at_all_can_be_saved(tmp_path) -> None:
    reliability_diagram({"none": Reliability.empty()}).savefig(tmp_path / "diagram.svg")
