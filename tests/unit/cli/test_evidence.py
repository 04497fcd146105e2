"""How `deepsigns evidence` tells what a claim was multiplied by."""

import json
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).parents[2] / "golden" / "evidence"
OWNER = "7309008e02b8174eed0a66c450fe0ffcafe5c576ba453d2e557bf223c78d2073"
ANOTHER = bytes(range(32)).hex()


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deepsigns_registry", "evidence", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def _verify(version: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    folder = GOLDEN / version
    return _run(
        *("verify", folder / "evidence.zip", folder / "suspect.onnx"),
        *("--public-key", folder / "signer.pub.pem"),
        *("--attestation", folder / "known.sigstore.json", *arguments),
    )


def test_the_price_is_told_to_people_and_to_machines() -> None:
    done = _verify("v2", "--archived", GOLDEN / "v2" / "known.sigstore.json")
    assert done.returncode == 0, done.stderr
    told = done.stdout[done.stdout.index("  counted:") :]
    assert told == (
        "  counted: 60 tries = 5 suspects x 4 commitments x 3 ways of reading and judging\n"
        "    5 suspects scanned, this one included, as the claim states\n"
        "    4 commitments, as the chain of them shows\n"
        f"    owner key {ANOTHER}: 1 commitments\n"
        f"    owner key {OWNER}: 3 commitments\n"
    )
    assert "\nok  claim: signed with the owner's own key, 2026-" in done.stdout
    document = json.loads(_verify("v2", "--json").stdout)["answer"]
    assert document["price"]["owners"] == {ANOTHER: 1, OWNER: 3}
    assert document["claim"]["owners"] == [ANOTHER, OWNER]
    assert (document["tries"], document["price"]["tries"]) == (60, 20)


def test_what_is_not_stated_is_said() -> None:
    done = _verify("v1")
    assert done.returncode == 0, done.stderr
    assert "how many suspects were scanned is not stated: counted as 1" in done.stdout
    document = json.loads(_verify("v1", "--json").stdout)["answer"]
    assert document["claim"] is None
    assert document["price"]["scanned_stated"] is False


def test_a_key_that_the_claimant_left_out() -> None:
    done = _verify("v2", "--owner-key", GOLDEN / "v1" / "signer.pub.pem")
    assert done.returncode == 3, done.stdout
    assert "undecided: " in done.stdout
    assert "nothing shows how many commitments it made" in done.stdout


def test_an_archived_attestation_of_somebody_else() -> None:
    done = _verify("v2", "--archived", GOLDEN / "v1" / "known.sigstore.json")
    assert done.returncode == 4
    assert "not signed by" in done.stderr
    signer = GOLDEN / "v1" / "signer.pub.pem"
    done = _verify(
        *("v2", "--public-key", signer, "--archived", GOLDEN / "v1" / "known.sigstore.json")
    )
    assert done.returncode == 2
    assert "--owner-key" in done.stderr


def test_a_number_below_one_is_a_mistake(tmp_path: Path) -> None:
    done = _run("export", "suspect.onnx", "--out", tmp_path / "e.zip", "--scanned", "0")
    assert done.returncode == 2
    assert "--scanned" in done.stderr
