"""Figures show what they were given."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet

from probseg.plots import (
    CLASSES,
    INK,
    Annotated,
    Block,
    contact_sheet,
    gini_curves,
    hide_ignored,
    palette,
    resample,
    sample_overview,
    sample_sheet,
)


def test_the_band_is_mean_and_spread_over_folds() -> None:
    folds = [([10, 20], [0.2, 0.4]), ([5, 40], [0.1, 0.5])]
    figure = gini_curves({"lidc": {"csae": folds}}, colours={"csae": "#009E73"})
    (axes,) = figure.axes
    (line,) = axes.lines
    # the second fold's curve at half its time: 0.1 + 0.4 (20 - 5) / 35
    at_half = np.array([0.2, 0.1 + 0.4 * 15 / 35])
    assert line.get_ydata()[50] == pytest.approx(at_half.mean())
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices
    around = edges[np.isclose(edges[:, 0], 0.5), 1]
    assert around.min() == pytest.approx(at_half.mean() - at_half.std())
    assert around.max() == pytest.approx(at_half.mean() + at_half.std())
    assert line.get_color() == "#009E73"


def test_times_before_the_first_are_not_drawn() -> None:
    values = resample([25, 100], [1.0, 4.0])
    assert np.isnan(values[:25]).all()
    assert values[[25, 50, 100]] == pytest.approx([1.0, 2.0, 4.0])


def test_one_panel_a_data_set_and_one_legend_entry_a_model() -> None:
    curve = [([1, 2], [0.1, 0.2])]
    figure = gini_curves({"a": {"punet": curve, "csae": curve}, "b": {"csae": curve}})
    legends = [[t.get_text() for t in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["punet", "csae"], ["csae"]]


def test_colours_are_distinct_and_a_chosen_one_is_kept() -> None:
    colours = palette(["mine", "csae", "yours", "punet"], {"csae": "#009E73"})
    assert colours["csae"] == "#009E73"
    assert len(set(colours.values())) == 4


def test_annotations_block_has_their_mean_and_deviation() -> None:
    masks = np.zeros((4, 2, 2), dtype=np.uint8)
    masks[:3, 0, 0] = 1
    masks[0, 1, 1] = 1
    block = Block.of_annotations(masks)
    assert block.mean == pytest.approx(np.array([[0.75, 0], [0, 0.25]]))
    assert block.sd == pytest.approx(np.sqrt(np.array([[0.75 * 0.25, 0], [0, 0.25 * 0.75]])))


def test_a_sheet_has_a_row_a_model_and_shows_the_outlines(tmp_path) -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 12, 10), dtype=np.uint8)
    masks[0, 3:7, 2:6] = 1  # the other annotator saw nothing
    labels = np.zeros((3, 12, 10), dtype=np.uint8)
    labels[:, 0:4, 0:5] = 1  # touches the border
    block = Block(labels, rng.random((12, 10)), rng.random((12, 10)) / 2)
    figure = sample_sheet(rng.random((1, 12, 10)), masks, {"csae": block}, title="an image")
    panels = np.array(figure.axes).reshape(2, 1 + 3 + 2)
    # an image and the outline where there is one
    drawn = [len(panel.collections) for panel in panels[0]]
    assert drawn == [1, 2, 0, 0, 0, 0]
    assert [panel.get_visible() for panel in panels[0]] == [True, True, True, False, True, True]
    assert [len(panel.collections) for panel in panels[1]] == [3, 2, 2, 2, 0, 0]
    (mean,) = panels[1, -2].get_images()
    assert np.array_equal(mean.get_array(), block.mean)
    outline = panels[0, 1].collections[-1].get_paths()[0].vertices
    assert outline.min(axis=0) == pytest.approx([1.5, 2.5])
    assert outline.max(axis=0) == pytest.approx([5.5, 6.5])
    figure.savefig(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_samples_of_several_classes_have_the_spread_of_all_of_them() -> None:
    certain = np.zeros((4, 3, 1, 2))
    certain[:2, 1], certain[2:, 2] = 1, 1  # two samples say class 1, two say class 2: never 0
    block = Block.of_probabilities(certain)
    assert block.mean == pytest.approx(np.ones((1, 2)))  # surely foreground,
    assert block.sd == pytest.approx(np.full((1, 2), 0.5))  # though of which class is a toss-up
    annotated = Block.of_annotations(certain.argmax(1))
    assert annotated.sd == pytest.approx(block.sd)
    assert annotated.mean == pytest.approx(block.mean)


def five_classes() -> np.ndarray:
    masks = np.zeros((2, 12, 10), dtype=np.uint8)
    masks[0, 1:4, 1:4], masks[0, 7:10, 5:9] = 1, 4
    masks[1, 1:4, 1:4] = 3
    return masks


def edges(panel) -> list[str]:
    lines = [c for c in panel.collections if len(c.get_edgecolor())]
    return [to_hex(line.get_edgecolor()[0]).upper() for line in lines]


def test_each_of_several_classes_has_a_colour_which_a_legend_explains() -> None:
    image, masks = np.random.default_rng(0).random((3, 12, 10)), five_classes()
    wanted = [CLASSES[0], CLASSES[3], CLASSES[2]]  # of both annotators' classes, 1 and 4, then 3
    sheet = contact_sheet([Annotated(image, masks, np.ones(2, bool), "case")], ["Ann", "Ben"])
    assert edges(sheet.axes[0]) == wanted
    block = Block(masks, np.zeros((12, 10)), np.zeros((12, 10)))
    samples = sample_sheet(image, masks, {"csae": block})
    assert edges(np.array(samples.axes).reshape(2, -1)[1, 0]) == wanted
    overview = sample_overview(image, block)
    assert edges(overview.axes[0]) == wanted
    for figure in (sheet, samples, overview):
        (legend,) = figure.legends
        entries = zip(legend.get_texts(), legend.get_lines(), strict=True)
        assert [(text.get_text(), line.get_color()) for text, line in entries] == [
            (f"class {k}", CLASSES[k - 1]) for k in (1, 2, 3, 4)
        ]


def test_the_declared_classes_decide_not_those_of_one_image() -> None:
    masks = np.minimum(five_classes(), 1)
    sheet = contact_sheet(
        [Annotated(np.zeros((12, 10)), masks, np.ones(2, bool), "case")], ["Ann", "Ben"], classes=3
    )
    assert set(edges(sheet.axes[0])) == {CLASSES[0]}


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (40, -7)])
def test_three_channels_are_shown_in_colour_everywhere(scale: float, offset: float) -> None:
    image, masks = np.random.default_rng(0).random((3, 12, 10)), np.zeros((2, 12, 10), np.uint8)
    block = Block(masks, np.zeros((12, 10)), np.zeros((12, 10)))
    given = scale * image + offset
    figures = [
        contact_sheet([Annotated(given, masks, np.ones(2, bool), "case")], ["Ann", "Ben"]),
        sample_sheet(given, masks, {"csae": block}),
        sample_overview(given, block),
    ]
    for figure in figures:
        shown = figure.axes[0].get_images()[0].get_array()
        assert shown.shape == (12, 10, 3)
        assert np.corrcoef(shown.ravel(), np.moveaxis(image, 0, -1).ravel())[0, 1] > 0.999
    if scale == 1:
        assert np.array_equal(shown, np.moveaxis(image, 0, -1))


def test_the_lines_of_an_overview_show_on_bright_images_and_stand_where_the_mean_says() -> None:
    y, x = np.mgrid[:40, :40]
    mean = np.clip(1.3 - np.hypot(y - 20, x - 20) / 12, 0, 1)  # .5 where 9.6 pixels from the middle
    labels = np.stack([mean > 0.7, mean > 0.3]).astype(np.uint8)
    samples, panel, _ = sample_overview(np.ones((40, 40)), Block(labels, mean, mean)).axes
    (lines,) = panel.collections
    assert list(lines.levels) == [0.1, 0.5, 0.9]
    radius = np.hypot(*(lines.get_paths()[1].vertices - 20).T)
    assert radius == pytest.approx(9.6, abs=0.1)
    for drawn in (*samples.collections, lines):
        (edge,) = drawn.get_path_effects()
        assert drawn.get_linewidth()[0] > 1
        assert edge._gc["linewidth"] > drawn.get_linewidth()[0] and edge._gc["foreground"] == INK
    nothing = Block(0 * labels, 0 * mean, 0 * mean)
    assert not sample_overview(np.ones((40, 40)), nothing).axes[1].collections


def test_other_numbers_of_channels_show_the_first() -> None:
    image, masks = np.random.default_rng(0).random((4, 12, 10)), np.zeros((1, 12, 10), np.uint8)
    block = Block(masks, np.zeros((12, 10)), np.zeros((12, 10)))
    assert np.array_equal(
        sample_overview(image, block).axes[0].get_images()[0].get_array(), image[0]
    )


def test_a_contact_sheet_draws_who_annotated_and_names_the_others() -> None:
    masks = np.zeros((4, 12, 10), dtype=np.uint8)
    masks[0, 2:5, 3:6] = masks[3, 7:9, 1:4] = 1  # the third one annotated, and found nothing
    present = np.array([True, False, True, True])
    image = np.random.default_rng(0).random((12, 10))
    panels = [
        Annotated(image, masks, present, "case 1"),
        Annotated(image, masks, np.ones(4, bool), "case 2", limits=(0.0, 2.0)),
    ]
    figure = contact_sheet(panels, ["Ann", "Ben", "Chen", "Dee"], columns=3, title="sheet")
    first, second, unused = figure.axes
    # an outline and what it encloses, of two annotators
    assert [len(panel.collections) for panel in (first, second, unused)] == [4, 4, 0]
    assert [text.get_text() for text in first.texts] == ["empty: Chen · absent: Ben"]
    assert [text.get_text() for text in second.texts] == ["empty: Ben, Chen"]
    (legend,) = figure.legends
    colours = {
        text.get_text().removeprefix("annotator "): line.get_color()
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }
    filled, outline = first.collections[::2], first.collections[1::2]
    for inside, around, name in zip(filled, outline, ("Ann", "Dee"), strict=True):
        assert to_hex(around.get_edgecolor()[0]).upper() == colours[name]
        assert to_hex(inside.get_facecolor()[0]).upper() == colours[name]
    corners = outline[0].get_paths()[0].vertices
    assert (*corners.min(axis=0), *corners.max(axis=0)) == pytest.approx((2.5, 1.5, 5.5, 4.5))
    assert second.get_images()[0].get_clim() == (0, 2)


def test_pixels_that_nobody_labelled_are_hatched_and_count_for_no_mean() -> None:
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[:, 2:4, 2:4] = 1
    masks[0, 2:4, 2:4] = masks[:, 6:] = 255
    hidden = hide_ignored(masks, 255)
    block = Block.of_annotations(hidden)
    assert (block.mean[2:4, 2:4] == 1).all() and np.isnan(block.mean[6:]).all()
    assert not block.mean[:2].any() and not block.sd[:6].any()
    panel = Annotated(np.eye(8), hidden, np.ones(2, np.bool_), "some")
    figure = contact_sheet([panel], ["ann", "ben"])
    sets = [one for one in figure.axes[0].collections if isinstance(one, ContourSet)]
    # hatches of both, and what the second one drew: filled, and its outline
    assert [bool(one.hatches and one.hatches[0]) for one in sets] == [True, True, False, False]
    assert {text.get_text() for text in figure.axes[0].texts} == {"empty: ann"}
    assert hide_ignored(masks, None) is masks
    figure = sample_sheet(np.eye(8), hidden, {"one": block})
    figure.savefig(io.BytesIO(), format="png")
