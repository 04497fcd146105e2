from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from deepsigns_registry.audit.columns import ALWAYS_WRITTEN, Reading, columns
from deepsigns_registry.watermark.schemes import builtin_schemes

MakeReading = Callable[..., Reading]
NAMES = st.lists(st.one_of(st.sampled_from(ALWAYS_WRITTEN), st.text("abc_p1", min_size=1)))


def test_the_named_columns_are_those_of_our_own_schemes_in_their_order() -> None:
    assert tuple(scheme.name for scheme in builtin_schemes()) == ALWAYS_WRITTEN


@given(NAMES)
def test_ours_come_first_and_every_scheme_once(names: list[str]) -> None:
    schemes = [column.scheme for column in columns(names)]
    assert sorted(schemes) == sorted(set(names))
    ours = [scheme for scheme in ALWAYS_WRITTEN if scheme in names]
    assert schemes[: len(ours)] == ours


@given(NAMES)
def test_no_two_schemes_share_a_field(names: list[str]) -> None:
    made = columns(names)
    fields = [name for column in made for name in column.fields(None)]
    assert len(fields) == len(set(fields)) == 4 * len(made)


def test_standard_deviations_are_no_share_of_the_values(reading: MakeReading) -> None:
    for scheme in ("spread", "uchida"):
        (column,) = columns([scheme])
        found = reading(scheme, trials=535_040, score=62.53, measured=True)
        assert column.count(found) == 62.5
        said = "standard deviations, a correlation over 535,040 values"
        assert column.beside(found) == said
    assert column.heading == "Score"
    assert column.beside(reading("uchida", trials=64)) == "of 64 match"


def test_white_box_counts_errors_and_others_matches(reading: MakeReading) -> None:
    counts = {
        column.scheme: column.count(reading(column.scheme, trials=128, score=100))
        for column in columns(["whitebox", "blackbox", "uchida"])
    }
    assert counts == {"whitebox": 28, "blackbox": 100, "uchida": 100}
