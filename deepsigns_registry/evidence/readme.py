"""The text inside an evidence file, for the people who receive it."""

from collections.abc import Sequence

from deepsigns_registry.attestation.statement import ClaimPredicate

__all__ = ["describe"]

_TEXT = """\
EVIDENCE OF A WATERMARK IN A MODEL

Suspect file, SHA-256: {suspect}
Schemes revealed:      {schemes}

What this file is
  The owner of a marked model committed to secret keys in a signed statement
  (statement.sigstore.json), the attestation that travels with the model. This file opens the
  commitments of the schemes named above. Whoever has it, the suspect file, and the
  attestation as it was known before the suspect can check, offline and without trusting the
  owner, that
    1. the statement is signed by a key that you name and trust;
    2. it is the attestation that you knew before, so that nothing in it was chosen to fit the
       suspect;
    3. the keys and secrets in this file are those that were committed to, and follow from
       each other and from the training data as it was committed to;
    4. the suspect answers as the keys say, more often than chance explains.

How to check it
    deepsigns evidence verify EVIDENCE SUSPECT.onnx --public-key SIGNER.pub.pem \\
        --attestation KNOWN/deepsigns/watermark.sigstore.json
  Take both from sources that are independent of this file; statement.sigstore.json in here
  will not do as the attestation. Yours must be older than the suspect, and than any public
  model that the suspect was made from. Without it the answer is never more than "undecided":
  whoever has the suspect first can choose queries and training data that fit it, and sign.

{stated}What this file gives away: READ THIS BEFORE PASSING IT ON
  - Training records. The samples that the schemes ask about are records of the owner's
    training data, in full, with their classes. If they are about people, this file is
    personal data.
  - A fingerprint of all training data: digest and class of every sample. Whoever holds a
    record can tell whether it was among them.
  - The secret keys of the schemes named above. They are spent: whoever has them can look for
    these marks and remove them. Schemes that are not named stay secret, and so does the root
    key, which is not in this file.
{chain}{hidden}
What it does not say
  - That the suspect was stolen. It says that a model which depends on the owner's secret is
    inside it.
  - When the statement was made. It carries the signer's own clock and no trusted timestamp;
    for that reason the mark counts as present only with the attestation that you knew before.
  - That the signer acts for the owner named in the statement: the signing key that you trust
    says so, nothing in this file does.
  - That the parent model predicted what the secret says: that needs the unmarked parent.
"""

_HIDDEN = """\
  - Where the mark sits: the name of the layer that is read, and mean values of the unmarked
    parent's activations there.
  - How the unmarked parent is built up to that layer, and of each row of its weights the
    length and up to 256 numbers that tell its direction. Of layers with few inputs these are
    the weights themselves, in half precision.
"""


_STATED = """\
What the claimant states, and signed (claim.sigstore.json)
  Suspects looked at before this claim, this one included: {scanned}
  Commitments of all the claimant's owner keys together:   {commitments}
  Owner keys of the claimant:
{owners}
  Signed on {date}, by the signer's own clock.
  Every p-value is multiplied by the first two numbers. The second follows from the chains of
  commitments (chain.*.jsonl), which are checked. Nobody can check the first: the claimant is
  held to it. Attestations of these owner keys that you archived before show whether a chain
  leaves something out; give them with --archived. Keys that are the claimant's too and are not
  named here you name with --owner-key.

"""

_CHAIN = """\
  - How many secrets were committed to, when, with which schemes, and by which owner keys: the
    whole of every key store's chain. What the commitments hide stays hidden.
"""


def describe(
    schemes: Sequence[str], suspect: str, *, hidden: bool, claim: ClaimPredicate | None = None
) -> str:
    """The README of an evidence file.

    Args:
        schemes: Names of the revealed schemes.
        suspect: SHA-256 of the suspect file (hex).
        hidden: Whether one of them reads a hidden layer.
        claim: What the claimant states; None for a file of format v1, which has no claim.

    Examples:
        >>> describe(["whitebox"], "aa" * 32, hidden=True).splitlines()[0]
        'EVIDENCE OF A WATERMARK IN A MODEL'
    """
    said = ""
    if claim is not None:
        said = _STATED.format(
            scanned=claim.scanned,
            commitments=claim.commitments,
            owners="\n".join(f"    {owner}" for owner in claim.owners),
            date=claim.created_at.isoformat(),
        )
    return _TEXT.format(
        suspect=suspect,
        schemes=", ".join(schemes),
        stated=said,
        chain=_CHAIN if claim is not None else "",
        hidden=_HIDDEN if hidden else "",
    )
