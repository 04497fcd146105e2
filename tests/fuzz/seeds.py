"""Good files of the formats that no golden file shows."""

import io
import json
from datetime import UTC, datetime

import numpy as np

from deepsigns_registry.attestation.keystore import Marking
from deepsigns_registry.registry.progress import DataFinding, DataJudgement, Progress
from deepsigns_registry.registry.protocol import LEASE_TAG, Lease, PromotionRequest, request_tag
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.key import RootKey
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import SchemeSecret

CONFIGURATION = (
    b"""[registry]
tracking_uri = "http://127.0.0.1:5000"
protected_aliases = ["champion"]
protected_models = ["prod-*"]

[owner]
name = "Example Ltd"
sealing = ["age:keys/sealing.pub", "age:keys/other.pub"]

[policy]
keys = [{ public_key = "key.pub.pem", may_sign = ["watermark", "audit", "command"] }]

[models.fraud]
data = "fraud.npz"
bits = 256
learning_rate = 1.5e-3
schemes = ["whitebox", "spread"]

[[deployments]]
name = "fraud-eu"
model = "fraud"
target = "s3://deployments/fraud/model.onnx"
schedule = "0 3 * * *"
attacks = ["prune:0.5", "quantize:int8"]
""",
)

MLMODEL = (
    b"""artifact_path: model
flavors:
  onnx:
    data: model.onnx
    onnx_version: 1.21.0
  pytorch:
    model_data: data
    code: null
mlflow_version: 3.17.0
model_size_bytes: 123456
saved_input_example_info:
  artifact_path: input_example.json
  type: ndarray
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 8]}}]'
  outputs: null
utc_time_created: '2026-01-02 03:04:05.678901'
""",
)


MARKING = (
    Marking(
        marking="m",
        owner="0" * 64,
        model="fraud",
        source_version="7",
        marked_version="8",
        onnx_digest="1" * 64,
        commitments={"whitebox": "2" * 64},
        index=1,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    .model_dump_json()
    .encode()
)


def _tags() -> bytes:
    request = PromotionRequest(
        id="r",
        alias="champion",
        model="fraud",
        version="7",
        requested_at=1_800_000_000_000,
        requested_by="somebody",
        detail="marking, step 120 of 400",
        progress=Progress(
            stage="marking",
            percent=62,
            seconds_left=200,
            figures={"whitebox_errors": 3.0, "whitebox_bits": 128.0, "accuracy": 0.98},
            updated_at=1_800_000_060_000,
        ),
        judgement=DataJudgement(
            score=0.9,
            score_name="accuracy",
            findings=(DataFinding(code="rotated", message="the classes look rotated"),),
        ),
    )
    lease = Lease(fence=3, worker="w", command="c", expires_at=1_800_000_100_000)
    return json.dumps(
        {
            request_tag("champion"): request.model_dump(mode="json"),
            LEASE_TAG: lease.model_dump(mode="json"),
        }
    ).encode()


TAGS = (_tags(),)


def _written(array: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


ARRAYS = tuple(map(_written, (np.ones((2, 3), np.float32), np.arange(5), np.zeros((0, 2)), b"ab")))


def record() -> bytes:
    """A watermark record whose secret is of no real mark."""
    data = LabelledData(np.ones((3, 2), dtype=np.float32), np.arange(3))
    secret = SchemeSecret("whitebox", {"classes": 3}, {"bits": np.zeros((2, 4), dtype=np.int8)})
    return WatermarkRecord(
        root=RootKey(bytes(32), bytes(32)),
        salts={"whitebox": bytes(32)},
        nonces={"whitebox": binding_nonce(bytes(32), secret)},
        secrets={"whitebox": secret},
        manifest=Manifest.of(data),
        tap="",
    ).to_bytes()
