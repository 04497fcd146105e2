"""Great Expectations judges the results table.

An ephemeral context: nothing is written and nothing is sent. Map expectations skip missing
values, so each column that must be complete is also expected not to be null.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from deepsigns_registry.audit.columns import Column, columns
from deepsigns_registry.audit.results import DEPLOYED, Row
from deepsigns_registry.audit.score import ACCURACY, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Expectation", "Judgement", "judge_table"]

Kind = Literal["complete", "sound", "policy", "note"]

_REQUIRED = ("label", "attack", "strength", "accuracy", "verdict", "seconds")
# Far below any evidence a float can hold; it only keeps minus infinity out.
_LOWEST_LOG10_P = -1e9


@dataclass(frozen=True)
class Expectation:
    """One sentence about the table, and whether it holds.

    Attributes:
        about: The sentence, for people.
        kind: `complete` (every step ran), `sound` (the numbers make sense), `policy` (the
            owner's own requirement) or `note` (worth knowing, decides nothing).
        success: Whether it holds.
        detail: What was seen instead; empty when it holds.
    """

    about: str
    kind: Kind
    success: bool
    detail: str = ""


@dataclass(frozen=True)
class Judgement:
    """The suite's answer."""

    expectations: tuple[Expectation, ...]

    @property
    def success(self) -> bool:
        """Whether every expectation holds, notes aside."""
        return not self.complaints

    @property
    def complaints(self) -> tuple[str, ...]:
        """What does not hold, notes aside."""
        return tuple(e.about for e in self.expectations if not e.success and e.kind != "note")

    def failed(self, kind: Kind) -> bool:
        """Whether an expectation of this kind does not hold."""
        return any(not e.success for e in self.expectations if e.kind == kind)

    def to_json(self) -> list[dict[str, Any]]:
        """The expectations as plain mappings."""
        return [
            {"about": e.about, "kind": e.kind, "success": e.success, "detail": e.detail}
            for e in self.expectations
        ]


def judge_table(
    rows: Sequence[Row],
    planned: Sequence[str],
    *,
    schemes: Iterable[str],
    score: str = ACCURACY,
    min_accuracy: float = 0.0,
) -> Judgement:
    """Runs the suite over the table.

    Args:
        rows: The results table.
        planned: Labels of the planned attacks, which must each have exactly one row.
        schemes: The schemes that were looked for.
        score: What `accuracy` is called for this model's task.
        min_accuracy: What the deployed file must reach, in [0, 1].
    """
    with warnings.catch_warnings():
        # Its dependencies warn at import about packages that are not needed here.
        warnings.simplefilter("ignore")
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        source = context.data_sources.add_pandas("audit")
        asked = columns(schemes)
        table = _frame(rows, asked)
        results: list[Expectation] = []
        for name, frame, sentences in (
            ("table", table, _table_sentences(gx.expectations, planned, asked, score)),
            (
                "deployed",
                table[table["label"] == DEPLOYED],
                _deployed_sentences(gx.expectations, asked, score, min_accuracy),
            ),
        ):
            suite = gx.ExpectationSuite(name=name, expectations=sentences)
            asset = source.add_dataframe_asset(name)
            definition = asset.add_batch_definition_whole_dataframe(name)
            outcomes = definition.get_batch({"dataframe": frame}).validate(suite)
            results += [_expectation(outcome) for outcome in outcomes.results]
    return Judgement(tuple(results))


def _frame(rows: Sequence[Row], schemes: Sequence[Column]) -> "pd.DataFrame":
    import pandas as pd

    text = {"label", "attack", "verdict", "error", "error_code"}
    names = Row("", "", 0.0).to_json(schemes)
    contents = [row.to_json(schemes) for row in rows]
    return pd.DataFrame(
        {
            # A column of nothing but None would have no number type, so types are given.
            name: pd.Series(
                [content[name] for content in contents], dtype="object" if name in text else float
            )
            for name in names
        }
    )


def _table_sentences(
    expect: Any, planned: Sequence[str], schemes: Sequence[Column], score: str
) -> list[Any]:
    return [
        expect.ExpectColumnDistinctValuesToEqualSet(
            column="label",
            value_set=[DEPLOYED, *planned],
            meta=_says("The deployed file and every planned attack have a row", "complete"),
        ),
        expect.ExpectColumnValuesToBeUnique(
            column="label", meta=_says("No row stands twice", "sound")
        ),
        *(
            expect.ExpectColumnValuesToNotBeNull(
                column=column,
                meta=_says(
                    f"Every row has its {score if column == 'accuracy' else column}", "complete"
                ),
            )
            for column in _REQUIRED
        ),
        expect.ExpectColumnValuesToBeInSet(
            column="error",
            value_set=[""],
            meta=_says("Every row was completed without an error", "complete"),
        ),
        expect.ExpectColumnValuesToBeInSet(
            column="verdict",
            value_set=["present", "absent", "undecided"],
            meta=_says("Every verdict is present, absent or undecided", "sound"),
        ),
        expect.ExpectColumnValuesToBeBetween(
            column="accuracy",
            min_value=0,
            max_value=1,
            meta=_says(f"Every {score} lies between 0 and 1", "sound"),
        ),
        *(sentence for scheme in schemes for sentence in _scheme_sentences(expect, scheme)),
    ]


def _scheme_sentences(expect: Any, scheme: Column) -> list[Any]:
    spoken = scheme.title

    def at_least(greater: str, smaller: str, about: str) -> Any:
        return expect.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=greater,
            column_B=smaller,
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            meta=_says(f"{spoken}: {about}", "sound"),
        )

    def logarithm(column: str, about: str) -> Any:
        return expect.ExpectColumnValuesToBeBetween(
            column=column,
            min_value=_LOWEST_LOG10_P,
            max_value=0,
            meta=_says(f"{spoken}: {about} is a probability", "sound"),
        )

    raw, adjusted = f"{scheme.scheme}_log10_p", f"{scheme.scheme}_log10_p_adjusted"
    return [
        at_least(scheme.total_name, scheme.count_name, "no count exceeds its total"),
        logarithm(raw, "every p-value"),
        logarithm(adjusted, "every adjusted p-value"),
        at_least(adjusted, raw, "adjusting for what was tried never strengthens the evidence"),
    ]


def _deployed_sentences(
    expect: Any, schemes: Sequence[Column], score: str, min_accuracy: float
) -> list[Any]:
    least = shown(score, min_accuracy, places=2)
    return [
        expect.ExpectTableRowCountToEqual(
            value=1, meta=_says("There is one deployed file", "complete")
        ),
        expect.ExpectColumnValuesToBeBetween(
            column="accuracy",
            min_value=min_accuracy,
            max_value=1,
            meta=_says(f"The deployed file's {score} is at least {least}", "policy"),
        ),
        *(
            expect.ExpectColumnValuesToNotBeNull(
                column=f"{scheme.scheme}_log10_p",
                meta=_says(f"{scheme.title}: the deployed file could be read", "note"),
            )
            for scheme in schemes
        ),
    ]


def _says(about: str, kind: Kind) -> dict[str, str]:
    return {"about": about, "kind": kind}


def _expectation(outcome: Any) -> Expectation:
    meta = outcome.expectation_config.meta
    success = bool(outcome.success)
    detail = "" if success else _detail(outcome.result, outcome.exception_info)
    return Expectation(meta["about"], meta["kind"], success, detail)


def _detail(result: Mapping[str, Any], exception: Mapping[str, Any] | None) -> str:
    if exception and exception.get("raised_exception"):
        return f"could not be judged: {exception.get('exception_message')}"
    if (observed := result.get("observed_value")) is not None:
        return f"seen: {observed}"
    seen = result.get("partial_unexpected_list") or []
    named = ", ".join(dict.fromkeys(_short(value) for value in seen[:3]))
    return f"{result.get('unexpected_count', 0)} row(s): {named}" if named else "not as expected"


def _short(value: object) -> str:
    if isinstance(value, float):
        return "missing" if math.isnan(value) else f"{value:g}"
    return str(value)[:120]
