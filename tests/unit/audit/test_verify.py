"""What a suspect says about its failure goes into reports, the tap's name does not."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.audit.verify import Candidate, Candidates, verify_onnx
from deepsigns_registry.errors import CouldNotCheckError
from deepsigns_registry.sandbox.doors import Doors
from deepsigns_registry.watermark.blueprint import Network
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.scheme import Probes, SchemeSecret

Floats = NDArray[np.float32]


class Failing:
    """A suspect whose runtime names the tensor that it fails at."""

    digest: str = "3f" * 32
    providers: tuple[str, ...] = ()
    doors: Doors | None = None

    def run(self, inputs: Floats, *, tap: str | None) -> tuple[Floats, Floats | None]:
        raise CouldNotCheckError(
            f"batch of {len(inputs)} failed at '{tap}': {tap} of {tap}_2", advice="none"
        )

    def weight(self, tap: str) -> Floats | None:
        raise NotImplementedError(tap)

    def matrices(self, probes: Probes) -> tuple[NDArray[np.float32] | None, ...]:
        return (None,) * len(probes.matrices)

    def networks(self) -> tuple[Network, ...]:
        return ()

    def activations(
        self, network: Network, inputs: Floats, tensors: Sequence[str]
    ) -> dict[str, Floats]:
        raise NotImplementedError(network, len(inputs), tensors)


@pytest.mark.parametrize("tap", ["relu", "/fc/Relu_output_0", "fc.1/", "a+b"])
def test_the_tap_is_not_named(tap: str, tmp_path: Path) -> None:
    record = WatermarkRecord(
        root=RootKey(bytes(32), bytes(32)),
        salts={},
        nonces={},
        secrets={
            "whitebox": SchemeSecret("whitebox", {}, {"triggers": np.zeros((3, 2), np.float32)})
        },
        manifest=Manifest(np.zeros((0, 32), np.uint8), np.zeros(0, np.int64)),
        tap=tap,
    )
    marking = Marking(
        marking="m1",
        owner="ab" * 32,
        model="digits",
        source_version="1",
        marked_version="2",
        onnx_digest="3f" * 32,
        commitments={},
        index=1,
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
    )
    path = tmp_path / "suspect.onnx"
    with pytest.raises(CouldNotCheckError) as raised:
        verify_onnx(
            path, Candidates("ab" * 32, 1, (Candidate(marking, record),)), suspect=Failing()
        )
    # A longer word that only begins like the tap is another name, and stays.
    assert f"failed at '(the tap)': (the tap) of {tap}_2" in raised.value.message
