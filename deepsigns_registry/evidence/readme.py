"""The text inside an evidence file, for the people who receive it."""

from collections.abc import Sequence

__all__ = ["describe"]

_TEXT = """\
EVIDENCE OF A WATERMARK IN A MODEL

Suspect file, SHA-256: {suspect}
Schemes revealed:      {schemes}

What this file is
  Before the marked model was released, its owner published commitments to secret keys, in a
  signed statement (statement.sigstore.json). This file opens the commitments of the schemes
  named above. Whoever has it and the suspect file can check, offline and without trusting
  the owner, that
    1. the statement is signed by a key that you name and trust;
    2. the keys in this file are those that were committed to, and none was chosen later to
       fit the suspect;
    3. everything asked of the suspect follows from these keys and from the owner's training
       data as it was committed to;
    4. the suspect answers as the keys say, more often than chance explains.

How to check it
    deepsigns evidence verify EVIDENCE SUSPECT.onnx --public-key SIGNER.pub.pem
  Take the public key from a source that is independent of this file.

What this file gives away: READ THIS BEFORE PASSING IT ON
  - Training records. The samples that the schemes ask about are records of the owner's
    training data, in full, with their classes. If they are about people, this file is
    personal data.
  - A fingerprint of all training data: digest and class of every sample. Whoever holds a
    record can tell whether it was among them.
  - The secret keys of the schemes named above. They are spent: whoever has them can look for
    these marks and remove them. Schemes that are not named stay secret, and so does the root
    key, which is not in this file.
{hidden}
What it does not say
  - That the suspect was stolen. It says that a model which depends on the owner's secret is
    inside it.
  - When the statement was made. It carries the signer's own clock and no trusted timestamp;
    for that reason the mark counts as present only at an adjusted p of 1e-20 or less.
  - That the signer acts for the owner named in the statement: the signing key that you trust
    says so, nothing in this file does.
  - That the parent model predicted what the secret says: that needs the unmarked parent.
"""

_HIDDEN = """\
  - Where the mark sits: the name of the layer that is read, and mean values of the unmarked
    parent's activations there.
"""


def describe(schemes: Sequence[str], suspect: str, *, hidden: bool) -> str:
    """The README of an evidence file.

    Args:
        schemes: Names of the revealed schemes.
        suspect: SHA-256 of the suspect file (hex).
        hidden: Whether one of them reads a hidden layer.
    """
    return _TEXT.format(
        suspect=suspect, schemes=", ".join(schemes), hidden=_HIDDEN if hidden else ""
    )
