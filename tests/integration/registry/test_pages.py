"""What MLflow's own pages show of a promotion, in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

from deepsigns_registry.attestation.bundle import read_bundle
from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.registry.progress import DataJudgement, Progress
from deepsigns_registry.registry.requests import attest, claim, promote, report, status
from deepsigns_registry.registry.server import Server
from deepsigns_registry.registry.versions import register_marked, resolve
from tests.support.browser import document, picture

pytestmark = pytest.mark.integration

Register = Callable[[str, Path], str]
FIGURES = {"whitebox_errors": 0, "whitebox_bits": 128, "blackbox_matches": 40}


@pytest.fixture
def promoted(
    *,
    client: MlflowClient,
    signer: FileSigner,
    register: Register,
    plain_model: Path,
    attested_model: Path,
    name: str,
) -> str:
    """A model whose version 1 was described by a person, and marked as version 2."""
    register(name, plain_model)
    client.update_model_version(name, "1", "Trained on May's data.")
    with pytest.raises(RestException, match="is queued"):
        client.set_registered_model_alias(name, "champion", "1")
    [request] = status(client, name, "1")
    held = claim(client, request, signer, worker="w", ttl=60)
    report(
        client,
        held,
        signer,
        request,
        state="queued",
        detail="marking, step 450 of 900",
        progress=Progress(stage="marking", percent=50, figures={**FIGURES, "blackbox_queries": 40}),
        judgement=DataJudgement(score=0.98, score_name="accuracy"),
    )
    during = client.get_model_version(name, "1")
    assert str(during.description).startswith("Trained on May's data.\n\ndeepsigns: waits since ")
    assert during.tags["deepsigns.percent"] == "50"
    assert during.tags["deepsigns.reason"] == "marking, step 450 of 900"
    marked = register_marked(client, resolve(client, f"{name}/1"), attested_model).version
    assert client.get_model_version(name, marked).description == "Trained on May's data."
    attest(client, name, marked, read_bundle(attested_model), signer)
    promote(client, held, signer, request, marked_version=marked)
    return name


def test_both_versions_tell_what_happened_and_nothing_for_machines(
    server: Server, client: MlflowClient, promoted: str, tmp_path: Path
) -> None:
    source, marked = (client.get_model_version(promoted, version) for version in "12")
    told = str(source.description)
    assert told.startswith("Trained on May's data.\n\ndeepsigns: marked as v2 on ")
    assert told.endswith("; deploy v2, not this version")
    assert "proof: white box 0 of 128 bits wrong, black box 40 of 40" in str(marked.description)
    assert not [key for tags in (source.tags, marked.tags) for key in tags if "lease" in key]
    listed = document(f"{server.uri}/#/models/{promoted}", tmp_path / "profile")
    assert "deepsigns.state" in listed
    for hidden in ("mlflow.d", "dsseEnvelope", "requested_at", "renewals"):
        assert hidden not in listed, hidden
    for version, line in (("1", "deploy v2, not this version"), ("2", "bits wrong, black box")):
        address = f"{server.uri}/#/models/{promoted}/versions/{version}"
        seen = document(address, tmp_path / "profile")
        assert line in seen
        assert "deepsigns.state" in seen
        for hidden in ("mlflow.deepsigns", "dsseEnvelope", "requested_at", "renewals"):
            assert hidden not in seen, hidden
        out = tmp_path / f"mlflow-version-{version}.png"
        picture(address, tmp_path / "profile", out, width=1280, height=900)
        assert out.stat().st_size > 10_000
