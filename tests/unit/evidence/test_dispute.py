"""Which schemes an evidence file reveals."""

from deepsigns_registry.evidence.dispute import sufficient_schemes
from deepsigns_registry.watermark.evidence import Correlation, Matches
from deepsigns_registry.watermark.verdict import judge, questions


def test_where_only_all_schemes_together_are_enough_all_are_revealed() -> None:
    traces = [
        Matches("whitebox", trials=128, matches=86, chance=0.5, level="a"),
        Matches("blackbox", trials=400, matches=75, chance=1 / 9, level="oracle"),
        Correlation("spread", trials=10_000, deviations=4.2, parts=1, level="b"),
    ]
    verdict = judge(traces, tries=questions(3))
    assert verdict.word == "present"
    assert sufficient_schemes(verdict) == ("whitebox", "blackbox", "spread")
