import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.audit.results import Row, deployed_row
from deepsigns_registry.errors import worst_exit_code


@given(st.lists(st.sampled_from([0, 1, 3, 4])))
def test_exit_codes_combine_as_the_worst(codes: list[int]) -> None:
    order = [0, 3, 1, 4]
    worst = order[max((order.index(code) for code in codes), default=0)]
    assert worst_exit_code(codes) == worst


def test_error_takes_the_claim_out_of_a_row() -> None:
    row = Row("prune:0.5", "prune", 0.5, verdict="present").failed("it broke", "could-not-check")
    assert (row.verdict, row.error) == ("undecided", "it broke")


@pytest.mark.parametrize("labels", [["deployed", "prune:0.5"], ["prune:0.5", "deployed"]])
def test_deployed_row_is_found_anywhere(labels: list[str]) -> None:
    rows = [Row(label, "x", 0.0) for label in labels]
    found = deployed_row(rows)
    assert found is not None
    assert found.label == "deployed"
    assert deployed_row([]) is None
