"""What the attacks on the structure do to a mark that is read where it was written."""

from typing import TYPE_CHECKING

from deepsigns_registry.attacks.permute import Permute
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.suspect import TappedSuspect
from tests.support.matched import matched

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked


def test_a_permuted_copy_reads_at_chance_and_still_answers_the_queries(
    marked: "Marked",
) -> None:
    before = extract(marked.record, TappedSuspect(marked.model))
    assert matched(before.evidence[0]).errors == 0
    attacked = Permute().apply(marked.model, 0.7, marked.data.train, seed=0)
    whitebox, blackbox = extract(marked.record, TappedSuspect(attacked)).evidence
    # Binomial(64, 1/2): four standard deviations around its mean.
    assert matched(whitebox).errors is not None
    assert abs(matched(whitebox).errors - 32) <= 16
    assert blackbox == before.evidence[1]
