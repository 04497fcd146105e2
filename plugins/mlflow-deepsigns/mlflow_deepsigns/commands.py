"""Executes the signed commands of workers."""

from mlflow.utils.validation import MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH

from deepsigns_registry.attestation.policy import Policy
from deepsigns_registry.attestation.verification import verify_command
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import CouldNotCheckError, TamperedError
from deepsigns_registry.registry import transitions
from deepsigns_registry.registry.protocol import (
    ATTESTATION_TAG,
    Attest,
    Claim,
    Command,
    Promote,
    Release,
    Renew,
    Report,
    parse_command,
)
from mlflow_deepsigns.answers import answered
from mlflow_deepsigns.checker import Checker
from mlflow_deepsigns.records import LockedRecords, Records, VersionRow

__all__ = ["Commands"]


class Commands:
    """Verifies who sent a command, then does it in one transaction under the model's lock."""

    def __init__(self, records: Records, checker: Checker) -> None:
        self._records = records
        self._checker = checker

    def execute(self, row: VersionRow, envelope: str, settings: Settings) -> None:
        """Does what a command asks for, all or nothing.

        Args:
            row: The version whose tag the command was sent as.
            envelope: The command in its DSSE envelope.
            settings: Their policy says who may send commands.

        Raises:
            RefusedError: The command may not be done (any more).
            TamperedError: Its signature is bad, or it is about another version.
            CouldNotCheckError: It cannot be read.
        """
        command = parse_command(verify_command(envelope, Policy.from_settings(settings)))
        if (command.model, command.version) != (row.name, str(row.version)):
            raise TamperedError(
                f"the command is about {command.model}/{command.version} and was sent to "
                f"{row.label}"
            )
        if isinstance(command, Attest):
            self._attest(row, command, settings)
        elif isinstance(command, Promote):
            self._promote(row, command, settings)
        else:
            with self._records.locked(row.name) as records, answered():
                state = records.state(row.name, row.version)
                records.save(row.name, row.version, _moved(state, command, records))

    def _attest(self, row: VersionRow, command: Attest, settings: Settings) -> None:
        attestation = self._checker.attested(row.location, settings, what=row.label)
        if attestation.bundle != command.bundle:
            raise TamperedError(f"{row.label}: its files hold another attestation than was sent")
        said = attestation.predicate
        with self._records.locked(row.name) as records, answered():
            records.unchanged(row)
            if len(attestation.bundle) <= MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH:
                # The tag only shows the attestation; the one that counts is among the files.
                records.set_tag(row.name, row.version, ATTESTATION_TAG, attestation.bundle)
            wanted = None
            if said.parent.name == row.name and said.parent.version.isdecimal():
                requests = records.state(row.name, said.parent.version).requests.values()
                wanted = next((known for known in requests if known.id == said.request_id), None)
            records.tell_marked(row, said, wanted)

    def _promote(self, row: VersionRow, command: Promote, settings: Settings) -> None:
        marked = self._records.version(row.name, command.marked_version)
        # The bytes first: hashing takes long, and nobody may wait for the lock meanwhile.
        attestation = self._checker.attested(marked.location, settings, what=marked.label)
        with self._records.locked(row.name) as records, answered():
            records.unchanged(marked)
            state, move = transitions.promote(
                records.state(row.name, row.version),
                command,
                current=records.target(row.name, command.alias),
                now=records.now(),
            )
            if not move:
                return
            records.save(row.name, row.version, state)
            records.move(row.name, command.alias, marked.version)
            # By now all that was measured is known.
            records.tell_marked(marked, attestation.predicate, state.requests[command.alias])
            records.supersede(row.name, command.alias, f"alias set to version {marked.version}")


def _moved(
    state: transitions.PromotionState, command: Command, records: LockedRecords
) -> transitions.PromotionState:
    now = records.now()
    match command:
        case Claim():
            return transitions.claim(state, command, now=now)
        case Renew():
            return transitions.renew(state, command, now=now)
        case Release():
            return transitions.release(state, command)
        case Report():
            return transitions.report(state, command, now=now)
        case _:
            raise CouldNotCheckError(f"command {command.command} is not executed here")
