"""Forgers, who claim a model that was never marked, or another owner's mark.

Each forgery is carried out, and works as long as nobody derives anything again: its evidence
alone would be `present`. Then somebody does.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from deepsigns_registry.errors import TamperedError
from deepsigns_registry.watermark import blackbox
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel
from deepsigns_registry.watermark.blackbox import BlackBox
from deepsigns_registry.watermark.blueprint import Blueprint, Layer, Network, Tensor
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.evidence import Evidence, Matches
from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.extract import extract
from deepsigns_registry.watermark.key import RootKey, purpose_key, scheme_key
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.prepare import check_against_parent
from deepsigns_registry.watermark.projection import centred, class_means, projected, read_bits
from deepsigns_registry.watermark.record import WatermarkRecord, binding_nonce
from deepsigns_registry.watermark.scheme import Answers, Preparation, Scheme, SchemeSecret
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.suspect import TappedSuspect
from deepsigns_registry.watermark.tapped import TappedModel, run_batched
from deepsigns_registry.watermark.verdict import Verdict, judge
from deepsigns_registry.watermark.whitebox import WhiteBox
from tests.support.matched import matched
from tests.support.training import train
from tests.support.unbound import unbound_labels

if TYPE_CHECKING:
    from tests.unit.watermark.conftest import Marked

CPU = torch.device("cpu")
FORGER = bytes(reversed(range(32)))
Arrays = dict[str, NDArray[np.generic]]


def honest(marked: "Marked", scheme: Scheme, root: RootKey) -> SchemeSecret:
    """What this root gives, with the owner's data and a model that was never marked."""
    manifest = marked.record.manifest
    key = scheme_key(root.subkey(scheme.name), root.owner, manifest.root)
    options = marked.settings
    return scheme.prepare(Preparation(marked.sibling, marked.data, manifest, key, CPU, options))


def recorded(
    secret: SchemeSecret, root: RootKey, manifest: Manifest, *, salt: bytes = bytes(32)
) -> WatermarkRecord:
    """A record with a nonce that fits: nothing but a derivation can tell."""
    return WatermarkRecord(
        root=root,
        salts={secret.scheme: salt},
        nonces={secret.scheme: binding_nonce(salt, secret)},
        secrets={secret.scheme: secret},
        manifest=manifest,
        tap="",
    )


def claimed(record: WatermarkRecord, model: TappedModel, tries: int = 1) -> Verdict:
    """The verdict of somebody who believes the record."""
    return judge(extract(record, TappedSuspect(model)).evidence, tries=tries)


def changed(secret: SchemeSecret, **arrays: NDArray[np.generic]) -> SchemeSecret:
    return replace(secret, arrays={**secret.arrays, **arrays})


def signs_wanted(secret: SchemeSecret) -> NDArray[np.float32]:
    return secret.arrays["bits"].astype(np.float32) * 2 - 1


def fitting(
    secret: SchemeSecret, carrier: int, activation: NDArray[np.float32], wanted: int
) -> list[int]:
    """Samples whose mean gives one carrier's bits, each taken for the bits still wrong."""
    projection = secret.arrays["projection"].astype(np.float32)
    votes = projected(activation, projection) * signs_wanted(secret)[carrier]
    chosen = list(range(wanted))
    for _ in range(4):
        for place in range(wanted):
            # One image for each other: the exchange after which the worst bits are least wrong.
            rest = votes[chosen].sum(axis=0) - votes[chosen[place]]
            costs = np.maximum(0.05 - (rest + votes) / votes.std() / wanted, 0).sum(axis=1)
            costs[[row for row in chosen if row != chosen[place]]] = np.inf
            chosen[place] = int(costs.argmin())
    return chosen


def varied(samples: int, seed: int) -> LabelledData:
    """Sixteen classes whose samples differ more among themselves than the classes do."""
    random = np.random.default_rng(seed)
    labels = np.arange(samples, dtype=np.int64) % 16
    centres = np.random.default_rng(0).normal(size=(16, 64))
    inputs = 0.5 * centres[labels] + random.normal(size=(samples, 64))
    return LabelledData(inputs.astype(np.float32), labels)


def test_triggers_chosen_from_the_training_set() -> None:
    """Real samples, real labels, a good key: only the choice of samples is the forger's."""
    data = TrainingData(varied(1920, 1), varied(160, 2), 16)
    torch.manual_seed(0)
    layers = [nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 16)]
    model = EagerTappedModel(train(nn.Sequential(*layers), data.train, epochs=3), "3")
    root, manifest = RootKey(bytes(32), FORGER), Manifest.of(data.train)
    options = MarkSettings(bits=64, carriers=16)
    key = scheme_key(root.subkey("whitebox"), root.owner, manifest.root)
    secret = WhiteBox().prepare(Preparation(model, data, manifest, key, CPU, options))
    true = recorded(secret, root, manifest)
    true.check()
    assert claimed(true, model).word != "present"
    inputs = data.train.inputs
    activation = run_batched(model, inputs, CPU)[1]
    chosen = []
    for carrier, label in enumerate(secret.arrays["carriers"]):
        members = np.flatnonzero(data.train.labels == label)
        chosen.append(members[fitting(secret, carrier, activation[members], 5)])
    few = np.concatenate(chosen)
    # The same few samples again and again, until they are as many as is asked for.
    many = np.concatenate([np.resize(rows, 50) for rows in chosen])
    for rows, refused in ((few, "only 5 triggers a class"), (many, "not the samples that the key")):
        forged = changed(secret, trigger_indices=rows, triggers=inputs[rows])
        verdict = claimed(recorded(forged, root, manifest), model)
        assert verdict.word == "present"
        # 52 of 64 is p = 3e-7.
        assert matched(verdict.evidence[0]).matches >= 52
        with pytest.raises(TamperedError, match=refused):
            recorded(forged, root, manifest).check()


def perturbed(secret: SchemeSecret, model: TappedModel) -> NDArray[np.float32]:
    """The triggers, moved until a model reads the bits from them."""
    inputs = torch.from_numpy(secret.arrays["triggers"].astype(np.float32)).requires_grad_()
    projection = torch.from_numpy(secret.arrays["projection"].astype(np.float32))
    signs = torch.from_numpy(signs_wanted(secret))
    optimizer = torch.optim.Adam([inputs], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        activation = model(inputs).activation
        means = activation.reshape(len(signs), -1, activation.shape[1]).mean(dim=1)
        scores = projected(means, projection) * signs
        torch.autograd.backward(torch.nn.functional.softplus(1 - scores).mean())
        optimizer.step()
    return inputs.detach().numpy()


def test_inputs_perturbed_until_they_fit(marked: "Marked") -> None:
    root, manifest = RootKey(bytes(32), FORGER), marked.record.manifest
    secret = honest(marked, WhiteBox(), root)
    forged = changed(secret, triggers=perturbed(secret, marked.sibling))
    verdict = claimed(recorded(forged, root, manifest), marked.sibling)
    assert verdict.word == "present"
    assert matched(verdict.evidence[0]).errors <= 2
    with pytest.raises(TamperedError, match="is not the sample of the manifest"):
        recorded(forged, root, manifest).check()


def test_training_data_made_up_of_inputs_that_fit(marked: "Marked") -> None:
    """The forger signs the perturbed inputs as his training data, and nothing else of a class.

    There is no choice among them and each is in the manifest. But other data are another key.
    """
    root, real = RootKey(bytes(32), FORGER), marked.data.train
    secret = honest(marked, WhiteBox(), root)
    triggers = perturbed(secret, marked.sibling)
    labels = np.repeat(secret.arrays["carriers"].astype(np.int64), 50)
    others = np.flatnonzero(~np.isin(real.labels, labels))[:90]
    made_up = LabelledData(
        np.concatenate([triggers, real.inputs[others]]),
        np.concatenate([labels, real.labels[others]]),
    )
    manifest = Manifest.of(made_up)
    forged = changed(secret, triggers=triggers, trigger_indices=np.arange(len(triggers)))
    assert claimed(recorded(forged, root, manifest), marked.sibling).word == "present"
    with pytest.raises(TamperedError, match="white-box secret"):
        recorded(forged, root, manifest).check()
    # What the key really gives for these data is chance again: 46 of 64 is p = 3e-4.
    data = TrainingData(made_up, marked.data.validation, marked.data.classes)
    key = scheme_key(root.subkey("whitebox"), root.owner, manifest.root)
    derived = WhiteBox().prepare(
        Preparation(marked.sibling, data, manifest, key, CPU, marked.settings)
    )
    record = recorded(derived, root, manifest)
    record.check()
    assert matched(claimed(record, marked.sibling).evidence[0]).matches < 46


def test_signs_of_columns_flipped(marked: "Marked") -> None:
    """With one carrier class each column of A is a free choice of one bit."""
    root, manifest = RootKey(bytes(32), FORGER), marked.record.manifest
    four = honest(marked, WhiteBox(), root)
    carrier = four.arrays["carriers"][:1]
    key = scheme_key(root.subkey("whitebox"), root.owner, manifest.root)
    neurons = four.arrays["projection"].shape[0]
    projection = Stream(purpose_key(key, "projection"), "A").gaussians((neurons, 64))
    label = f"b {four.arrays['blueprint'].tobytes().hex()}"
    bits = Stream(purpose_key(key, "signature"), label).bits(64).reshape(1, 64)
    one = changed(
        four,
        carriers=carrier,
        triggers=four.arrays["triggers"][:50],
        trigger_indices=four.arrays["trigger_indices"][:50],
        projection=projection,
        bits=bits,
        means=four.arrays["means"][:1],
        activations=four.arrays["activations"][:50],
    )
    # So far nothing is wrong with it, and nothing is found.
    recorded(one, root, manifest).check()
    assert claimed(recorded(one, root, manifest), marked.sibling).word != "present"
    means = four.arrays["means"][:1].astype(np.float32)
    wrong = (projected(means, projection) > 0) != bits
    flipped = changed(one, projection=np.where(wrong, -projection, projection))
    verdict = claimed(recorded(flipped, root, manifest), marked.sibling)
    assert (verdict.word, matched(verdict.evidence[0]).errors) == ("present", 0)
    with pytest.raises(TamperedError, match="projection is not that of the key"):
        recorded(flipped, root, manifest).check()


def ordered(
    means: NDArray[np.float32], projection: NDArray[np.float32], signs: NDArray[np.float32]
) -> NDArray[np.int64]:
    """An order of neurons in which means are read with these signs, by exchanging pairs."""
    random, order = np.random.default_rng(0), np.arange(means.shape[1])
    scores = means @ projection
    best = np.minimum(scores * signs, 1).sum()
    for first, second in random.integers(0, len(order), (20_000, 2)):
        gain = means[:, order[second]] - means[:, order[first]]
        moved = scores + np.outer(gain, projection[first] - projection[second])
        fit = np.minimum(moved * signs, 1).sum()
        if fit > best:
            best, scores = fit, moved
            order[[first, second]] = order[[second, first]]
    return order


def test_an_order_of_neurons_made_up(marked: "Marked") -> None:
    """After alignment neurons are read in the order of the blueprint, which is the forger's."""
    root, manifest = RootKey(bytes(32), FORGER), marked.record.manifest
    secret = honest(marked, WhiteBox(), root)
    activation = run_batched(marked.sibling, WhiteBox().probes(secret).inputs, CPU)[1]
    means = class_means(activation, len(secret.arrays["bits"]))
    projection = secret.arrays["projection"].astype(np.float32)
    order = ordered(centred(means), projection, signs_wanted(secret))
    read = read_bits(means[:, order], projection)
    assert (read == secret.arrays["bits"]).sum() >= 60
    weight = np.random.default_rng(1).normal(size=(len(order), 16)).astype(np.float32)
    network = Network((Layer(weight[order], (), 0),), (Tensor("t", (0,), 1),))
    made_up = Blueprint.of(network, "t")
    with pytest.raises(TamperedError, match="not drawn from the blueprint"):
        replace(recorded(secret, root, manifest), blueprint=made_up).check()
    # Drawn from it the bits are others: 52 of 64 come once in three million keys.
    key = scheme_key(root.subkey("whitebox"), root.owner, manifest.root)
    parts = marked.parent, marked.data, manifest, key, CPU, marked.settings
    again = WhiteBox().prepare(Preparation(*parts, blueprint=made_up))
    assert np.array_equal(again.arrays["projection"], projection)
    assert (read == again.arrays["bits"]).sum() < 52


def ground(marked: "Marked", count: int) -> Iterator[Evidence]:
    """Reads one key after the other from a model never marked, as a forger who looks for luck."""
    scheme = WhiteBox()
    root = marked.record.manifest.root
    for number in range(count):
        subkey = RootKey(number.to_bytes(32, "big"), FORGER).subkey(scheme.name)
        secret = scheme.prepare(
            Preparation(
                marked.sibling,
                marked.data,
                marked.record.manifest,
                scheme_key(subkey, FORGER, root),
                CPU,
                marked.settings,
            )
        )
        suspect = TappedSuspect(marked.sibling)
        outputs, activation = suspect.run(scheme.probes(secret).inputs, tap="")
        yield scheme.evidence(secret, Answers(outputs, activation))


def test_seeds_tried_are_seeds_paid_for(marked: "Marked") -> None:
    """200 keys: the best p is about 1/200, and counted it is about 1.

    The smallest of n exact p-values times n is below 1/100 once in a hundred times.
    """
    tries = 200
    best = min(ground(marked, tries), key=lambda evidence: evidence.log10_p)
    assert best.log10_p < -1.5
    paid = judge([best], tries=tries)
    assert paid.log10_p_adjusted("whitebox") > -2
    assert paid.word == "absent"
    # To come to 1e-6 after n tries a key has to be at 1e-6 / n; one in n / 1e-6 is.
    for matches in range(65):
        lucky = Matches("whitebox", trials=64, matches=matches, chance=0.5, level="a")
        tries_needed = math.ceil(10**-lucky.log10_p)
        assert judge([lucky], tries=tries_needed).word != "present"


def test_another_owner_s_key(marked: "Marked") -> None:
    """A thief has the owner's whole record, and the marked model: the mark is really there."""
    record = marked.record
    stolen = replace(record, root=RootKey(record.root.secret, FORGER))
    assert claimed(stolen, marked.model).word == "present"
    with pytest.raises(TamperedError, match=r"(white|black)-box secret"):
        stolen.check()
    # What his name and the same secret give is another mark, which the model does not carry.
    his = honest(marked, WhiteBox(), RootKey(record.root.secret, FORGER))
    derived = recorded(his, RootKey(record.root.secret, FORGER), record.manifest)
    derived.check()
    assert claimed(derived, marked.model).word != "present"


def test_a_subkey_that_a_dispute_revealed_serves_nobody_else(marked: "Marked") -> None:
    """Here the root stays unknown, so the subkey is all that a verifier could derive from."""
    record, manifest = marked.record, marked.record.manifest
    for scheme in (WhiteBox(), BlackBox()):
        secret, revealed = record.secrets[scheme.name], record.root.subkey(scheme.name)
        scheme.check(secret, scheme_key(revealed, record.root.owner, manifest.root), manifest)
        with pytest.raises(TamperedError, match=r"of the key|key chooses"):
            scheme.check(secret, scheme_key(revealed, FORGER, manifest.root), manifest)


def made_up(
    secret: SchemeSecret, answers: NDArray[np.int64], random: np.random.Generator
) -> SchemeSecret:
    """The parent's answers, as far as one can know the labels before naming them."""
    count, classes = len(answers), int(str(secret.meta["classes"]))
    steps = blackbox._labels(secret) - secret.arrays["parent_outputs"].argmax(axis=1)
    named = np.eye(classes)[(answers - steps) % classes]
    noise = random.normal(size=(count, classes))
    return changed(secret, parent_outputs=(8 * named + noise).astype(np.float32))


def rare_to_fit(secret: SchemeSecret, model: TappedModel) -> SchemeSecret:
    """Of all candidates those called rare that a model is surest of."""
    count = len(secret.arrays["kept"])
    every = changed(secret, kept=np.arange(2 * count))
    outputs = run_batched(model, BlackBox().probes(every).inputs, CPU)[0]
    best = np.sort(outputs - outputs.mean(axis=0), axis=1)
    surest = np.argsort(best[:, -2] - best[:, -1], kind="stable")[:count]
    return changed(secret, kept=np.sort(surest))


def test_rare_queries_and_a_parent_made_up(
    marked: "Marked", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the key does not fix, fixed to fit: which candidates were rare, what a parent said.

    `check` has neither parent nor data and cannot tell. If labels followed from the key alone,
    both could be chosen label by label. They follow from both, so all that is left is to try.
    """
    tries, random = 200, np.random.default_rng(0)
    root, manifest = RootKey(bytes(32), FORGER), marked.record.manifest
    forged = rare_to_fit(honest(marked, BlackBox(), root), marked.sibling)
    outputs = run_batched(marked.sibling, BlackBox().probes(forged).inputs, CPU)[0]
    answers = (outputs - outputs.mean(axis=0)).argmax(axis=1)
    with monkeypatch.context() as patch:
        patch.setattr(blackbox, "_labels", unbound_labels)
        unbound = recorded(made_up(forged, answers, random), root, manifest)
        unbound.check()
        assert claimed(unbound, marked.sibling).word == "present"
    assert claimed(unbound, marked.sibling).word != "present"
    found = []
    for _ in range(tries):
        # Each time from the labels that the last one drew.
        forged = made_up(forged, answers, random)
        found.append(BlackBox().evidence(forged, Answers(outputs)))
    recorded(forged, root, manifest).check()
    # All together are Binomial(200 * 100, 1/5), of deviation 57; five of it.
    assert abs(sum(matched(evidence).matches for evidence in found) - 4000) < 285
    best = min(found, key=lambda evidence: evidence.log10_p)
    # As for seeds: the smallest of n p-values times n is below 1/100 once in a hundred times.
    assert judge([best], tries=tries).log10_p_adjusted("blackbox") > -2


def test_who_has_the_parent_sees_what_was_made_up(marked: "Marked") -> None:
    root, manifest = RootKey(bytes(32), FORGER), marked.record.manifest
    given = marked.sibling, marked.data, marked.settings
    true = honest(marked, BlackBox(), root)
    check_against_parent(recorded(true, root, manifest), *given)
    rare = recorded(rare_to_fit(true, marked.sibling), root, manifest)
    with pytest.raises(TamperedError, match="blackbox secret: kept cannot be derived again"):
        check_against_parent(rare, *given)
    outputs = true.arrays["parent_outputs"].astype(np.float32)
    answered = changed(true, parent_outputs=outputs + np.float32(1))
    with pytest.raises(TamperedError, match="parent_outputs cannot be derived again"):
        check_against_parent(recorded(answered, root, manifest), *given)
    # Another platform's rounding draws other labels, and is no tampering.
    rounded = changed(true, parent_outputs=outputs + np.float32(1e-5))
    assert (blackbox._labels(rounded) != blackbox._labels(true)).any()
    check_against_parent(recorded(rounded, root, manifest), *given)
