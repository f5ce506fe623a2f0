"""Published numbers: complete rows that name real metrics and protocols, and their table."""

import pytest

from probseg import protocols
from probseg.registry import registry
from probseg.reports.published import published_numbers, published_table


def test_every_row_names_what_exists():
    numbers = published_numbers()
    assert len(numbers) > 40
    for one in numbers:
        assert one.metric in registry("metrics") and one.data in registry("datasets")
        assert protocols.get(one.protocol).dataset == one.data
        assert 0 < one.value < 2 and one.source and (one.year or 2018) >= 2018
    keys = [(n.protocol, n.method, n.metric, n.samples, n.source) for n in numbers]
    assert len(set(keys)) == len(keys)


def test_the_table_has_a_row_for_each_method_with_its_values():
    table = published_table("lidc-v1")
    headings = [column.title for column in table.columns]
    (row,) = (row for row in table.rows if row[0].text == "MoSE (2023)")
    told = dict(zip(headings, (cell.text for cell in row), strict=True))
    assert told["GED16 ↓"] == "0.218" and told["GED100 ↓"] == "0.189"
    assert told["HM-IoU32 ↑"] == "0.624" and told["HM-IoU100, rectangular ↑"] == "–"
    assert "each has a test set of its own" in table.caption


@pytest.mark.parametrize("name", ["qubiq-kidney", "own"])
def test_nothing_is_made_up_where_nothing_is_known(name):
    assert not published_table(name).rows


def test_other_data_have_no_numbers_of_lidc():
    assert published_numbers("contours") == []
