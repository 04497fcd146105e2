"""Great Expectations judges a small table of what was counted: one row a split.

An ephemeral context: nothing is written and nothing is sent.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from deepsigns_registry.retraining.fitness.finding import Expectation

__all__ = ["COLUMNS", "judge_table"]

COLUMNS: Mapping[str, tuple[str, float | None, float | None]] = {
    "rows": ("Each split has samples", 1, None),
    "shape_as_signed": ("Samples have the shape of the signature", 1, 1),
    "type_as_signed": ("Samples have the type of the signature", 1, 1),
    "not_finite": ("No number is NaN or infinite", None, 0),
    "outside_labels": ("Every label is a class of the model", None, 0),
    "classes_lacking": ("Every class has samples", None, 0),
    "carriers_lacking": ("Enough classes have enough different samples", None, 0),
    "repeated": ("No sample stands twice in its split", None, 0),
    "shared": ("No sample stands in both splits", None, 0),
    "constant_features": ("No feature is constant", None, 0),
    "example_as_data": ("The data has the scale and order of the input example", 1, 1),
    "size_against_example": ("Values are as large as the input example's", 0.25, 4),
    "against_validation": ("Both splits are as large in their values", 0.5, 2),
}
"""What is counted: the sentence about it, its least and its greatest value."""


def judge_table(rows: Sequence[Mapping[str, float | None]]) -> tuple[Expectation, ...]:
    """Judges the counts.

    Args:
        rows: One a split, each with all of `COLUMNS`; None where something cannot be said.
    """
    with warnings.catch_warnings():
        # Its dependencies warn at import about packages that are not needed here.
        warnings.simplefilter("ignore")
        import great_expectations as gx
        import pandas as pd
        from great_expectations.data_context.types.base import ProgressBarsConfig

        # Where its temporary files are is of no use to a person.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        frame = pd.DataFrame({name: [row[name] for row in rows] for name in COLUMNS}, dtype=float)
        source = context.data_sources.add_pandas("training")
        definition = source.add_dataframe_asset("splits").add_batch_definition_whole_dataframe("a")
        expect: Any = gx.expectations
        suite = gx.ExpectationSuite(
            name="training",
            expectations=[
                expect.ExpectColumnValuesToBeBetween(
                    column=name,
                    min_value=least,
                    max_value=most,
                    meta={"about": about, "column": name},
                )
                for name, (about, least, most) in COLUMNS.items()
            ],
        )
        outcomes = definition.get_batch({"dataframe": frame}).validate(suite)
    return tuple(_expectation(outcome, rows) for outcome in outcomes.results)


def _expectation(outcome: Any, rows: Sequence[Mapping[str, float | None]]) -> Expectation:
    meta = outcome.expectation_config.meta
    seen = [row[meta["column"]] for row in rows]
    said = ", ".join("not known" if value is None else f"{value:g}" for value in seen)
    return Expectation(meta["about"], bool(outcome.success), said)
