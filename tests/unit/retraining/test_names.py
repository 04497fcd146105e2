"""One marking for one owner, source, data, recipe and policy."""

import itertools

from deepsigns_registry.retraining.names import MarkingNames

NAMES = MarkingNames.of("owner", "model", "digest", "recipe", "policy")


def test_whatever_is_other_gives_another_name() -> None:
    described = ["owner", "model", "digest", "recipe", "policy"]
    found = {NAMES.base("data"), NAMES.base("mended data")}
    for place in range(len(described)):
        other = [*described[:place], "other", *described[place + 1 :]]
        found.add(MarkingNames.of(*other).base("data"))
    assert len(found) == 7
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in found)


def test_texts_cannot_be_moved_from_one_to_the_next() -> None:
    parts = ["a", "b,", '"c"', ""]
    names = {MarkingNames.of(*order).base("d") for order in itertools.permutations(parts)}
    assert len(names) == 24


def test_markings_of_this_data_are_known_by_their_names() -> None:
    base, other = NAMES.base("data"), NAMES.base("other")
    known = NAMES.knowing(kept=[f"{base}-3"], given_up=[f"{base}-1", f"{base}-2", f"{other}-1"])
    assert known.base("data") == base
    assert (known.keeps("data"), known.keeps("other")) == (True, False)
    assert (known.skips("data"), known.skips("other"), known.skips("third")) == (2, 1, 0)
