from collections.abc import Callable

import pytest

from deepsigns_registry.audit.finding import Finding
from deepsigns_registry.audit.tracking import Tracking, _opening, _page


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("https://mlflow.example/team/", "https://mlflow.example/team/#/experiments/3/runs/r"),
        ("sqlite:///mlflow.db", ""),
    ],
)
def test_the_page_of_a_run_is_that_of_its_curves(uri: str, page: str) -> None:
    assert _page(uri, "3", "r") == (f"{page}/model-metrics" if page else "")


def test_a_run_begins_with_the_verdict_and_the_curves(finding: Callable[..., Finding]) -> None:
    page = "http://127.0.0.1:5000/#/experiments/3/runs/r/model-metrics"
    note = _opening(Tracking("r", page=page), ["curves/1.svg"], finding())
    assert note.split("\n\n")[:2] == [
        "Watermark found: [see the curves](#/experiments/3/runs/r/model-metrics)",
        "![curves](get-artifact?path=curves/1.svg&run_uuid=r)",
    ]
    assert _opening(Tracking("r"), [], finding()).startswith("Watermark found\n\n")
