"""`python -m benchmarks.ordinary.tapcheck`: how often a network is taken for the parent's.

A reading is one parent, one of its layers, the triggers of one key, and one network that is not the
parent's: trained as it was from another start, trained briefly, trained on other labels, or not
trained at all. None of them may be accepted, but for the rate that the check states. What may not
be refused is the parent itself after plain fine-tuning, and pruned. Networks that start from the
same weights descend from one, as a fine-tuned parent does: they are read and not counted.
"""

import argparse
import copy
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.ordinary.data import load
from benchmarks.ordinary.parents import train_parent
from benchmarks.ordinary.shared import KIN, SHARED
from benchmarks.ordinary.zoo import ZOO, Entry
from deepsigns_registry.attacks.prune import prune_smallest
from deepsigns_registry.errors import DeepSignsError
from deepsigns_registry.watermark.adapters.eager import EagerTappedModel, tap_candidates
from deepsigns_registry.watermark.carriers import carrier_counts, group_samples
from deepsigns_registry.watermark.data import LabelledData, TrainingData
from deepsigns_registry.watermark.expand import Stream
from deepsigns_registry.watermark.manifest import Manifest
from deepsigns_registry.watermark.recognised import recognised_layout
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tap import FALSE_ACCEPTANCE, Layout, compare_taps
from deepsigns_registry.watermark.tapped import run_batched
from deepsigns_registry.watermark.whitebox import width_needed

__all__ = ["main"]

Floats = NDArray[np.float32]

_MOST_ACCEPTED = 1 / 1000
_MOST_LAYERS = 3
_CPU = torch.device("cpu")
_SHARES = (0.5, 0.8)


class _Scale(NamedTuple):
    parents: int
    brief: int
    untrained: int
    keys: int
    share: int


_FULL = _Scale(parents=2, brief=2, untrained=3, keys=20, share=1)
# A fourth of the epochs: parents that know less, in a fourth of the time.
_QUICK = _Scale(parents=1, brief=1, untrained=2, keys=4, share=4)


@dataclass
class Row:
    """What became of one model's readings.

    Attributes:
        model: Its name.
        layers: Of its parents, read.
        refused: Of its parents, that would not be marked, by the reason.
        readings: Of networks that are not the parent's, by their kind.
        accepted: How many of them were taken for the parent's.
        relatives: Readings of the parent itself, changed, by the kind of change.
        known: How many of them were taken for the parent's.
    """

    model: str
    layers: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    readings: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    relatives: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)


def main(arguments: list[str] | None = None) -> int:
    """Runs the readings and returns 0 where no more are accepted than may be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ordinary.tapcheck")
    parser.add_argument("--quick", action="store_true", help="about a thousand readings")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    entries = {**ZOO, **SHARED, **KIN}
    parser.add_argument("--only", nargs="+", choices=tuple(entries), metavar="NAME")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows, started = [], time.monotonic()
    for name in options.only or entries:
        rows.append(_read(entries[name], _QUICK if options.quick else _FULL))
        passed = time.monotonic() - started
        print(f"[{passed:4.0f} s] {_line(rows[-1])}", file=sys.stderr, flush=True)
    counted = [row for row in rows if row.model not in KIN]
    readings = sum(row.readings.total() for row in counted)
    accepted = sum(row.accepted.total() for row in counted)
    if options.json:
        total = {"readings": readings, "accepted": accepted, "stated": FALSE_ACCEPTANCE}
        print(json.dumps({**total, "rows": [vars(row) for row in rows]}, indent=1))
    else:
        print("\n".join([_line(row) for row in rows]))
        print(f"{accepted} of {readings} accepted, stated rate {FALSE_ACCEPTANCE:g}")
    return int(accepted > _MOST_ACCEPTED * readings)


def _read(entry: Entry, scale: _Scale) -> Row:
    data, row = load(entry.data, 0), Row(entry.name)
    entry = replace(entry, epochs=max(1, entry.epochs // scale.share))
    networks = _networks(entry, data, scale)
    options = MarkSettings()
    width = width_needed(options, data.classes if data.train.task == "classification" else 1)
    for parent in range(scale.parents):
        suspects: list[tuple[str, nn.Module]] = [
            (kind, network) for place, (kind, network) in enumerate(networks) if place != parent
        ]
        relatives = _relatives(networks[parent][1], entry, data.train)
        example = torch.from_numpy(data.train.inputs[:4])
        try:
            choices = tap_candidates(networks[parent][1], example, width=width)
        except DeepSignsError as error:
            row.refused[str(error)] += 1
            continue
        for choice in choices[:_MOST_LAYERS]:
            try:
                layer = _layer(networks[parent][1], choice.tap, data.train, scale.keys)
            except DeepSignsError as error:
                row.refused[str(error)] += 1
                continue
            row.layers += 1
            for kind, network in suspects:
                row.readings[kind] += scale.keys
                row.accepted[kind] += layer.accepted(network)
            for change, network in relatives.items():
                row.relatives[change] += scale.keys
                row.known[change] += layer.accepted(network)
    return row


class _Layer(NamedTuple):
    """A parent's layer, and the triggers that it is read on."""

    tap: str
    inputs: Floats
    activation: Floats
    layout: Layout
    triggers: list[tuple[NDArray[np.int64], int]]

    def accepted(self, network: nn.Module) -> int:
        """For how many trigger sets a network is taken for the parent's."""
        theirs = run_batched(EagerTappedModel(network, self.tap), self.inputs, _CPU)[1]
        compared = (
            compare_taps(self.activation[rows], theirs[rows], carriers=carriers, layout=self.layout)
            for rows, carriers in self.triggers
        )
        return sum(found is not None and found.verified for found in compared)


def _layer(parent: nn.Module, tap: str, data: LabelledData, keys: int) -> _Layer:
    """As the product takes it.

    Raises:
        DeepSignsError: The product refuses the layer.
    """
    model, manifest = EagerTappedModel(parent, tap), Manifest.of(data)
    labels = group_samples(model, data, manifest.digests, MarkSettings(), _CPU).labels
    triggers = list(_trigger_sets(manifest.with_labels(labels), keys))
    activation = run_batched(model, data.inputs, _CPU)[1]
    rows, carriers = triggers[0]
    layout = recognised_layout(model, data.inputs[rows], activation[rows], carriers, _CPU)
    return _Layer(tap, data.inputs, activation, layout, triggers)


def _networks(entry: Entry, data: TrainingData, scale: _Scale) -> list[tuple[str, nn.Module]]:
    """The parents first; each of them is a sibling of the other."""
    seeds = iter(range(100))
    brief = replace(entry, epochs=max(1, entry.epochs // 6))
    untrained = replace(entry, epochs=0)
    mixed = np.random.default_rng(0).permutation(len(data.train))
    elsewhere = replace(data.train, labels=data.train.labels[mixed])
    plans = [
        *[("sibling", entry, data.train)] * scale.parents,
        *[("brief sibling", brief, data.train)] * scale.brief,
        ("other labels", brief, elsewhere),
        *[("untrained", untrained, data.train)] * scale.untrained,
    ]
    return [(kind, train_parent(how, on, next(seeds))) for kind, how, on in plans]


def _relatives(parent: nn.Module, entry: Entry, data: LabelledData) -> dict[str, nn.Module]:
    again = replace(entry, build=lambda: copy.deepcopy(parent), epochs=max(1, entry.epochs // 4))
    pruned = {f"pruned {share:.0%}": copy.deepcopy(parent) for share in _SHARES}
    for share, network in zip(_SHARES, pruned.values(), strict=True):
        for weight in network.parameters():
            if weight.ndim > 1:
                prune_smallest([weight], share)
    return {"fine-tuned": train_parent(again, data, 50), **pruned}


def _trigger_sets(manifest: Manifest, keys: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """As the white box chooses them: rows of the data, and how many carriers they belong to."""
    options = MarkSettings()
    classes = int(manifest.labels.max()) + 1
    enough = np.flatnonzero(manifest.distinct(classes) >= options.triggers_per_class)
    carriers = carrier_counts(options, len(enough))[0]
    for number in range(keys):
        key = number.to_bytes(32, "big")
        chosen = enough[Stream(key, "carriers").permutation(len(enough))[:carriers]]
        yield (
            np.concatenate(
                [
                    manifest.lowest(key, options.triggers_per_class, label=int(label))
                    for label in chosen
                ]
            ),
            carriers,
        )


def _line(row: Row) -> str:
    counted = [f"{kind} {row.accepted[kind]}/{readings}" for kind, readings in row.readings.items()]
    known = [f"{kind} {row.known[kind]}/{readings}" for kind, readings in row.relatives.items()]
    refused = [f"refused {times}: {reason}" for reason, times in row.refused.items()]
    parts = [
        f"{row.layers} layers",
        "; accepted ",
        ", ".join(counted),
        "; known ",
        ", ".join(known),
    ]
    return f"{row.model}: {''.join(parts)}{'; '.join(['', *refused])}"


if __name__ == "__main__":
    sys.exit(main())
