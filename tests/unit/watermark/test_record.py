"""The record: sealing format, and what a forger would change."""

import copy
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.watermark import blackbox, whitebox
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor
from deepsigns_registry.watermark.data import LabelledData
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey, commit, scheme_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.prepare import check_against_parent
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce, reads_hidden
from deepsigns_registry.watermark.scheme import JSON, SchemeSecret
from deepsigns_registry.watermark.schemes import builtin_schemes
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.verdict import judge
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.support.matched import matched

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

Array = NDArray[np.generic]
Change = Callable[[Array], Array]


def changed(record: WatermarkRecord, scheme: str, name: str, change: Change) -> WatermarkRecord:
    """A forger's record: one array changed, the nonce made to fit again."""
    secret = record.secrets[scheme]
    arrays = {**secret.arrays, name: change(copy.deepcopy(secret.arrays[name]))}
    forged = replace(secret, arrays=arrays)
    nonce = binding_nonce(record.salts[scheme], forged)
    return replace(
        record,
        secrets={**record.secrets, scheme: forged},
        nonces={**record.nonces, scheme: nonce},
    )


def test_a_record_survives_its_bytes(marked: "Marked") -> None:
    record = marked.record.with_tap("value_7")
    again = WatermarkRecord.from_bytes(record.to_bytes())
    again.check()
    assert again.tap == "value_7"
    assert again.root == record.root
    assert again.commitments() == record.commitments()
    assert again.manifest.root == record.manifest.root
    for name, secret in record.secrets.items():
        assert again.secrets[name].meta == secret.meta
        for key, array in secret.arrays.items():
            np.testing.assert_array_equal(again.secrets[name].arrays[key], array)


def drawn_from(record: WatermarkRecord, blueprint: Blueprint) -> WatermarkRecord:
    """As if the white box had been prepared with this blueprint."""
    secret, digest = record.secrets["whitebox"], np.frombuffer(blueprint.digest(), dtype=np.uint8)
    key = scheme_key(record.root.subkey("whitebox"), record.root.owner, record.manifest.root)
    carriers, count = secret.arrays["bits"].shape
    bits = whitebox._bits(key, carriers, count, digest)
    other = replace(secret, arrays={**secret.arrays, "bits": bits, "blueprint": digest})
    return replace(record, secrets={**record.secrets, "whitebox": other})


def test_what_reads_a_hidden_layer_is_bound_to_the_blueprint(marked: "Marked") -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(96, 16)).astype(np.float32)
    network = Network((Layer(weight, (), 0),), (Tensor("t", (0,), 1),))
    blueprint = Blueprint.of(network, "t")
    unbound = drawn_from(marked.record, blueprint)
    record = unbound.with_tap("t", blueprint)
    before, after = unbound.commitments(), record.commitments()
    assert before["whitebox"] != after["whitebox"]
    assert before["blackbox"] == after["blackbox"]
    again = WatermarkRecord.from_bytes(record.to_bytes())
    again.check()
    assert again.blueprint.digest() == blueprint.digest()
    for other in (Blueprint.empty(), replace(blueprint, rows=np.roll(blueprint.rows, 1, axis=0))):
        with pytest.raises(TamperedError, match="not the one that was committed"):
            replace(again, blueprint=other).check()


def test_bits_that_are_drawn_from_no_blueprint_are_of_version_0(marked: "Marked") -> None:
    secret = marked.record.secrets["whitebox"]
    key = scheme_key(
        marked.record.root.subkey("whitebox"), marked.record.root.owner, marked.record.manifest.root
    )
    carriers, count = secret.arrays["bits"].shape
    arrays = {name: value for name, value in secret.arrays.items() if name != "blueprint"}
    arrays["bits"] = whitebox._bits(key, carriers, count, None)
    older = replace(secret, meta={**secret.meta, "key_version": 0}, arrays=arrays)
    WhiteBox().check(older, key, marked.record.manifest)
    with pytest.raises(TamperedError, match="drawn from is missing"):
        WhiteBox().check(replace(secret, arrays=arrays), key, marked.record.manifest)


def test_the_bytes_are_the_same_every_time(marked: "Marked") -> None:
    again = WatermarkRecord.from_bytes(marked.record.to_bytes())
    assert WatermarkRecord.from_bytes(again.to_bytes()).commitments() == again.commitments()


def test_a_record_never_shows_itself(marked: "Marked") -> None:
    shown = repr(marked.record) + repr(marked.record.secrets["whitebox"])
    assert marked.record.root.secret.hex() not in shown
    assert "array" not in shown


def test_commitments_are_those_of_the_subkeys(marked: "Marked") -> None:
    record = marked.record
    assert record.commitments() == {
        name: commit(record.root.subkey(name), name, record.nonces[name])
        for name in ("whitebox", "blackbox", "spread")
    }


def roll(array: Array) -> Array:
    return np.roll(array, 1, axis=0)


def flip(array: Array) -> Array:
    return (1 - array).astype(array.dtype)


def shift(array: Array) -> Array:
    return (array + np.ones((), array.dtype)).astype(array.dtype)


@pytest.mark.parametrize(
    ("scheme", "name", "change", "message"),
    [
        ("whitebox", "carriers", roll, "carrier classes are not those of the key"),
        ("whitebox", "trigger_indices", roll, "not the samples that the key chooses"),
        ("whitebox", "triggers", shift, "is not the sample of the manifest"),
        ("whitebox", "projection", np.negative, "projection is not that of the key"),
        ("whitebox", "bits", flip, "signature bits are not those of the key"),
        ("whitebox", "triggers", lambda array: array[:-1], "incomplete"),
        ("whitebox", "means", lambda array: array[:-1], "mean activations are no such values"),
        ("whitebox", "means", lambda array: array.astype(np.float64), "mean activations are no"),
        ("whitebox", "means", lambda array: array * np.nan, "mean activations are no such values"),
        ("whitebox", "activations", lambda array: array[:-1], "activations are no such values"),
        ("whitebox", "activations", lambda array: array * np.nan, "activations are no such values"),
        ("whitebox", "activations", lambda array: -array, "do not have the means"),
        ("blackbox", "source_indices", roll, "not the samples that the key chooses"),
        ("blackbox", "sources", shift, "is not the sample of the manifest"),
        ("blackbox", "query_key", roll, "queries are not those of the key"),
        ("blackbox", "label_key", roll, "labels are not those of the key"),
        ("blackbox", "kept", lambda array: array[::-1], "not among the candidates"),
        ("blackbox", "kept", lambda array: array[:50], "only 50 queries"),
        ("blackbox", "parent_outputs", lambda array: array.astype(np.float64), "are no logits"),
        ("blackbox", "parent_outputs", lambda array: array[:, 1:], "are no logits"),
        ("blackbox", "parent_outputs", lambda array: array * np.nan, "are no logits"),
    ],
)
def test_what_the_key_does_not_derive_is_refused(
    marked: "Marked", scheme: str, name: str, change: Change, message: str
) -> None:
    with pytest.raises(TamperedError, match=message):
        changed(marked.record, scheme, name, change).check()


def test_triggers_that_look_better_are_refused(marked: "Marked") -> None:
    """The forgery of the facts page: real samples, picked by hand."""
    manifest, secret = marked.record.manifest, marked.record.secrets["whitebox"]
    carrier = int(secret.arrays["carriers"][0])
    taken = set(secret.arrays["trigger_indices"].tolist())
    other = next(
        index for index in np.flatnonzero(manifest.labels == carrier) if int(index) not in taken
    )
    indices, triggers = (secret.arrays[key].copy() for key in ("trigger_indices", "triggers"))
    indices[0], triggers[0] = other, marked.data.train.inputs[other]
    forged = replace(
        secret, arrays={**secret.arrays, "trigger_indices": indices, "triggers": triggers}
    )
    record = replace(
        marked.record,
        secrets={**marked.record.secrets, "whitebox": forged},
        nonces={
            **marked.record.nonces,
            "whitebox": binding_nonce(marked.record.salts["whitebox"], forged),
        },
    )
    with pytest.raises(TamperedError, match="not the samples that the key chooses"):
        record.check()


def test_another_root_or_manifest_is_refused(marked: "Marked") -> None:
    with pytest.raises(TamperedError):
        replace(marked.record, root=RootKey(bytes(32), bytes(32))).check()
    fewer = marked.data.train
    manifest = Manifest.of(LabelledData(fewer.inputs[:-200], fewer.labels[:-200]))
    with pytest.raises(TamperedError):
        replace(marked.record, manifest=manifest).check()


def test_the_choice_of_queries_is_committed(marked: "Marked") -> None:
    secret = marked.record.secrets["blackbox"]
    forged = replace(secret, meta={**secret.meta, "more": 1})
    record = replace(marked.record, secrets={**marked.record.secrets, "blackbox": forged})
    with pytest.raises(TamperedError, match="not the one that was committed"):
        record.check()


def others_kept(kept: Array) -> Array:
    """One candidate that was kept for one that was not."""
    left_out = np.setdiff1d(np.arange(2 * len(kept)), kept)
    return np.sort(np.concatenate([kept[1:], left_out[:1]]))


def last_bit(outputs: Array) -> Array:
    """The last bit of one of the parent's answers, which changes no class."""
    changed = outputs.astype(np.float32)
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(np.inf))
    return changed


@pytest.mark.parametrize(("name", "change"), [("kept", others_kept), ("parent_outputs", last_bit)])
def test_what_follows_from_the_parent_is_committed_and_draws_all_labels(
    marked: "Marked", name: str, change: Change
) -> None:
    forged = changed(marked.record, "blackbox", name, change)
    with pytest.raises(TamperedError, match="not the one that was committed"):
        replace(forged, nonces=marked.record.nonces).check()
    # With a nonce of its own it is another record, of a mark that this model does not carry.
    forged.check()
    suspect = TappedSuspect(marked.model)
    true, other = (
        next(read for read in extract(record, suspect).evidence if read.scheme == "blackbox")
        for record in (marked.record, forged)
    )
    assert true.log10_p < -20
    # Binomial(100, 1/5) is above 48 once in 4e9 times.
    assert matched(other).matches <= 48


def test_whether_a_hidden_layer_is_read_is_known_without_a_query(
    marked: "Marked", monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(blackbox, "make_queries", made)
    marked.record.check()
    hidden = {scheme.name for scheme in builtin_schemes() if reads_hidden(scheme)}
    assert hidden == {"whitebox", "spread"}


def test_queries_of_too_many_values_are_refused(
    marked: "Marked", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blackbox, "_MOST_VALUES", 2 * 100 * 16)
    marked.record.check()
    monkeypatch.setattr(blackbox, "_MOST_VALUES", 2 * 100 * 16 - 1)
    with pytest.raises(TamperedError, match="its queries are too large"):
        marked.record.check()


@pytest.mark.parametrize("classes", [10**5 + 1, 10**12])
def test_hostile_numbers_of_classes_cost_nothing(marked: "Marked", classes: int) -> None:
    secret = marked.record.secrets["whitebox"]
    forged = replace(secret, meta={**secret.meta, "classes": classes})
    record = replace(marked.record, secrets={"whitebox": forged})
    with pytest.raises(TamperedError, match=f"{classes} classes do not hold the labels"):
        record.check()


def test_many_classes_are_counted_in_one_pass(marked: "Marked") -> None:
    secret = marked.record.secrets["whitebox"]
    forged = replace(secret, meta={**secret.meta, "classes": 10**5})
    started = time.process_time()
    with pytest.raises(TamperedError, match="carrier classes are not those of the key"):
        replace(marked.record, secrets={"whitebox": forged}).check()
    assert time.process_time() - started < 60


def test_a_missing_array_is_tampering(marked: "Marked") -> None:
    empty = SchemeSecret("whitebox", marked.record.secrets["whitebox"].meta, {})
    with pytest.raises(TamperedError, match="incomplete"):
        replace(marked.record, secrets={"whitebox": empty}).check()


def test_an_unknown_scheme_cannot_be_checked(marked: "Marked") -> None:
    secrets = {"nobodys": marked.record.secrets["whitebox"]}
    with pytest.raises(
        CouldNotCheckError, match="no plugin brings a watermark scheme named 'nobodys'"
    ):
        replace(marked.record, secrets=secrets).check()


def test_a_sceptic_derives_the_choice_again_from_the_parent(marked: "Marked") -> None:
    check_against_parent(marked.record, marked.parent, marked.data, marked.settings)
    with pytest.raises(TamperedError, match="cannot be derived again from this parent"):
        check_against_parent(marked.record, marked.sibling, marked.data, marked.settings)


def test_a_sceptic_s_loader_may_shuffle(marked: "Marked") -> None:
    order = np.random.default_rng(0).permutation(900)
    train = marked.data.train
    shuffled = LabelledData(train.inputs[order], train.labels[order])
    data = replace(marked.data, train=shuffled)
    check_against_parent(marked.record, marked.parent, data, marked.settings)
    other = shuffled.inputs.copy()
    other[0] += 1
    data = replace(marked.data, train=LabelledData(other, shuffled.labels))
    with pytest.raises(TamperedError, match="its samples cannot be derived"):
        check_against_parent(marked.record, marked.parent, data, marked.settings)


def test_a_sceptic_compares_plain_values_too(marked: "Marked") -> None:
    secret = marked.record.secrets["whitebox"]
    for meta in ({"scale": 1e9}, {"neurons": 3}, {"more": 1}):
        forged = replace(secret, meta={**secret.meta, **meta})
        record = replace(marked.record, secrets={**marked.record.secrets, "whitebox": forged})
        with pytest.raises(TamperedError, match=r"whitebox secret: .* cannot be derived again"):
            check_against_parent(record, marked.parent, marked.data, marked.settings)


def test_rounding_at_the_threshold_of_density_is_no_tampering() -> None:
    density = np.array([-5.0, -1.0, -3.00001, -3.0, -2.0, -9.0])
    assert blackbox._rarest(density, 3, None).tolist() == [0, 2, 5]
    for given, taken in (
        # Two candidates whose order rounding decides.
        ([0, 3, 5], [0, 3, 5]),
        # One that is clearly not rare, one that clearly is, too few, no candidate.
        ([0, 4, 5], [0, 2, 5]),
        ([2, 3, 5], [0, 2, 5]),
        ([0, 5], [0, 2, 5]),
        ([0, 5, 6], [0, 2, 5]),
    ):
        assert blackbox._rarest(density, 3, np.array(given)).tolist() == taken


def packed(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no zip",
        packed({}),
        packed({"record.json": b"{"}),
        packed({"record.json": b"[]"}),
        packed({"record.json": b'{"format": "something else"}'}),
        packed({"record.json": b'{"format": "deepsigns-registry/record/v0", "schemes": []}'}),
    ],
)
def test_other_bytes_are_no_record(content: bytes) -> None:
    with pytest.raises(CouldNotCheckError, match="no watermark record"):
        WatermarkRecord.from_bytes(content)


def test_a_pickle_inside_is_refused(marked: "Marked") -> None:
    with zipfile.ZipFile(io.BytesIO(marked.record.to_bytes())) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    entries["manifest.digests.npy"] = buffer.getvalue()
    with pytest.raises(CouldNotCheckError, match="no watermark record"):
        WatermarkRecord.from_bytes(packed(entries))


@pytest.mark.parametrize(
    ("scheme", "array", "what"),
    [
        ("whitebox", "activations", "activations are missing"),
        ("blackbox", "source_outputs", "answers to the sources are missing"),
    ],
)
def test_a_record_of_version_1_holds_what_the_first_ones_lacked(
    marked: "Marked", scheme: str, array: str, what: str
) -> None:
    secret = marked.record.secrets[scheme]
    assert secret.meta["key_version"] == 1
    arrays = {name: value for name, value in secret.arrays.items() if name != array}
    for version, refused in ((1, True), (0, False)):
        older = replace(secret, meta={**secret.meta, "key_version": version}, arrays=arrays)
        nonce = binding_nonce(marked.record.salts[scheme], older)
        record = replace(
            marked.record,
            secrets={**marked.record.secrets, scheme: older},
            nonces={**marked.record.nonces, scheme: nonce},
        )
        if refused:
            with pytest.raises(TamperedError, match=what):
                record.check()
        else:
            record.check()


@pytest.mark.parametrize("version", [2, -1, "1", True, None])
def test_a_later_version_of_the_key_could_not_be_checked(marked: "Marked", version: JSON) -> None:
    secret = marked.record.secrets["spread"]
    later = replace(secret, meta={**secret.meta, "key_version": version})
    record = replace(marked.record, secrets={**marked.record.secrets, "spread": later})
    with pytest.raises(CouldNotCheckError, match="another version of the key"):
        record.check()


def test_a_record_of_version_0_is_derived_again_from_its_parent(marked: "Marked") -> None:
    """It may lack what later ones hold; one of version 1 may not."""
    secret = marked.record.secrets["blackbox"]
    arrays = {name: value for name, value in secret.arrays.items() if name != "source_outputs"}
    meta = {name: value for name, value in secret.meta.items() if name != "key_version"}
    given = marked.parent, marked.data, marked.settings
    for older, refused in (
        (replace(secret, meta=meta, arrays=arrays), False),
        (replace(secret, arrays=arrays), True),
    ):
        record = replace(marked.record, secrets={"blackbox": older})
        if refused:
            with pytest.raises(TamperedError, match="its parts cannot be derived again"):
                check_against_parent(record, *given)
        else:
            check_against_parent(record, *given)


def test_a_record_of_the_first_format_is_read(marked: "Marked") -> None:
    """It held class means instead of activations: its tap is not told by value any more."""
    secret = marked.record.secrets["whitebox"]
    later = {"layout", "key_version"}
    meta = {name: value for name, value in secret.meta.items() if name not in later}
    arrays = {name: value for name, value in secret.arrays.items() if name != "activations"}
    older = replace(secret, meta=meta, arrays=arrays)
    salt = marked.record.salts["whitebox"]
    record = replace(
        marked.record,
        secrets={**marked.record.secrets, "whitebox": older},
        nonces={**marked.record.nonces, "whitebox": binding_nonce(salt, older)},
    )
    with zipfile.ZipFile(io.BytesIO(record.to_bytes())) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["record.json"] = entries["record.json"].replace(b"record/v1", b"record/v0")
    again = WatermarkRecord.from_bytes(packed(entries))
    again.check()
    found = extract(again, TappedSuspect(marked.model))
    (hidden,) = [entry for entry in found.evidence if entry.scheme == "whitebox"]
    assert (matched(hidden).errors, hidden.level, found.tap_agreement) == (0, "", None)
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "present"
    found = extract(again, TappedSuspect(marked.parent))
    assert judge(found.evidence, tries=1, incomplete=found.incomplete).word == "undecided"
