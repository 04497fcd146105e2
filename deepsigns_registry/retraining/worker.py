"""The worker: a reconciler that makes what is promoted be marked.

All state is in the registry. A worker that dies leaves a lease that expires; the next one starts
again from what is sealed in the key store.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deepsigns_registry.attestation.signing import FileSigner
from deepsigns_registry.config import Settings
from deepsigns_registry.errors import (
    CouldNotCheckError,
    DeepSignsError,
    RefusedError,
)
from deepsigns_registry.registry import requests
from deepsigns_registry.registry.client import make_server_client
from deepsigns_registry.registry.gate import gate
from deepsigns_registry.registry.versions import resolve
from deepsigns_registry.retraining.fresh import FreshSettings
from deepsigns_registry.retraining.marking import Marked, mark_version
from deepsigns_registry.retraining.reporting import MarkingRun, ProgressReporter, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow.tracking import MlflowClient

    from deepsigns_registry.engine.jobs import Figures, JobProgress
    from deepsigns_registry.registry.protocol import PromotionRequest

__all__ = ["Outcome", "Worker"]

_log = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
ATTEMPTS = 5
"""Rounds in which a request may end in `could not check` before it fails for good."""
_FIRST_PAUSE = 15.0


@dataclass(frozen=True)
class Outcome:
    """What became of one request in one round.

    Attributes:
        request: The request.
        state: `promoted`; `failed`, for good; `waiting`, for a later round or another worker.
        detail: One line for people.
        marked: The marked version, when there is one.
        error: Why it was not promoted.
    """

    request: "PromotionRequest"
    state: Literal["promoted", "failed", "waiting"]
    detail: str
    marked: Marked | None = None
    error: DeepSignsError | None = None


class Worker:
    """Works off the promotion requests of one registry.

    Their file is read anew for each request, as one snapshot; see `fresh`.

    Args:
        settings: The settings; the signing key must be one that the policy trusts.
        progress: Told how far the current request is.
        say: Told in one line when the settings changed, or cannot be read any more.

    Raises:
        ConfigurationError: The signing key is missing or not trusted.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        progress: "JobProgress | None" = None,
        say: "Callable[[str], None] | None" = None,
    ) -> None:
        self._fresh = FreshSettings(settings, say or _log.warning)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._progress = progress or _silent
        self._attempts: dict[str, _Attempt] = {}

    def run_once(self) -> Iterator[Outcome]:
        """Works off everything that waits now, oldest first.

        Raises:
            ConfigurationError: `tracking_uri` names no server.
            CouldNotCheckError: The registry does not answer.
        """
        client = make_server_client(self._fresh.read_anew().settings.tracking_uri)
        for request in requests.pending_requests(client):
            outcome = self._work(client, request)
            if outcome is not None:
                yield outcome

    def run_forever(self, *, interval: float) -> Iterator[Outcome | DeepSignsError]:
        """Looks for work every `interval` seconds; a registry that is down is only waited for."""
        while True:
            try:
                yield from self.run_once()
            except CouldNotCheckError as error:
                yield error
            time.sleep(interval)

    @property
    def _settings(self) -> Settings:
        return self._fresh.now.settings

    @property
    def _signer(self) -> FileSigner:
        return self._fresh.now.signer

    def _work(self, client: "MlflowClient", request: "PromotionRequest") -> Outcome | None:
        attempt = self._attempts.get(request.id, _Attempt())
        if time.monotonic() < attempt.not_before:
            return None
        self._fresh.read_anew()
        try:
            held = requests.claim(
                client, request, self._signer, worker=self._name, ttl=LEASE_SECONDS
            )
        except RefusedError as error:
            # Somebody else is at work, or the request has ended: neither is a failure.
            return Outcome(request, "waiting", str(error))
        except DeepSignsError as error:
            return Outcome(request, "waiting", str(error), error=error)
        reporter = self._reporter(client, held, request, attempt.number + 1)
        with _renewing(client, held, self._signer) as lease:
            try:
                with reporter:
                    marked = self._mark(client, request, lease, reporter)
                requests.promote(client, held, self._signer, request, marked_version=marked.version)
            except DeepSignsError as error:
                return self._failed(
                    client, held, request, attempt=attempt, reporter=reporter, error=error
                )
            finally:
                # Also when this process is told to end: the next worker need not wait.
                with suppress(DeepSignsError):
                    requests.release(client, held, self._signer)
        target = f"{request.model}/{marked.version}"
        return Outcome(request, "promoted", f"{request.alias} -> {target}", marked)

    def _failed(
        self,
        client: "MlflowClient",
        held: requests.HeldLease,
        request: "PromotionRequest",
        *,
        attempt: "_Attempt",
        reporter: ProgressReporter,
        error: DeepSignsError,
    ) -> Outcome:
        """Notes in the registry why a request is not done, and whether it is tried again."""
        number = attempt.number + 1
        again = isinstance(error, CouldNotCheckError) and number < ATTEMPTS
        detail = f"attempt {number}: {error.public}" if again else error.public
        with suppress(DeepSignsError):
            told = reporter.because(detail)
            requests.report(
                client,
                held,
                self._signer,
                request,
                state="queued" if again else "failed",
                detail=detail,
                progress=told.progress,
                judgement=told.judgement,
            )
        if again:
            pause = _FIRST_PAUSE * 2**attempt.number
            self._attempts[request.id] = _Attempt(number, time.monotonic() + pause)
        return Outcome(request, "waiting" if again else "failed", str(error), error=error)

    def _reporter(
        self,
        client: "MlflowClient",
        held: requests.HeldLease,
        request: "PromotionRequest",
        attempt: int,
    ) -> ProgressReporter:
        """Who tells of this attempt: in the registry, in MLflow, and beside this process."""

        def send(told: Told) -> None:
            requests.report(
                client,
                held,
                self._signer,
                request,
                state="queued",
                detail=told.detail,
                progress=told.progress,
                judgement=told.judgement,
            )

        label = f"{request.model}/{request.version}"
        tags = {
            "deepsigns.model": request.model,
            "deepsigns.version": request.version,
            "deepsigns.request": request.id,
            "deepsigns.attempt": str(attempt),
        }
        experiment = self._settings.worker.experiment
        return ProgressReporter(
            send,
            run=MarkingRun(client, experiment, name=label, tags=tags) if experiment else None,
            show=self._progress,
            reason=request.progress.reason if request.progress else "",
            every=self._settings.worker.report_seconds,
        )

    def _mark(
        self,
        client: "MlflowClient",
        request: "PromotionRequest",
        lease: "_Lease",
        reporter: ProgressReporter,
    ) -> Marked:
        source = resolve(client, f"{request.model}/{request.version}")
        marked = mark_version(
            self._settings,
            client,
            source,
            request=request.id,
            signer=self._signer,
            still_ours=lease.check,
            progress=reporter,
        )
        if marked.fidelity:
            fidelity = marked.fidelity
            reporter(1.0, "marked", {marked.score: fidelity.marked_accuracy, "drop": fidelity.drop})
        lease.check()
        attested = gate(self._settings, f"{request.model}/{marked.version}", client=client)
        requests.attest(
            client, request.model, marked.version, attested.attestation.bundle, self._signer
        )
        return marked


def _silent(_fraction: float, _message: str, /, figures: "Figures | None" = None) -> None:
    del figures


@dataclass(frozen=True)
class _Attempt:
    """How often a request could not be worked off, and when it may be tried again."""

    number: int = 0
    not_before: float = 0.0


class _Lease:
    """Whether a lease is still held, as the renewing thread saw it last."""

    def __init__(self) -> None:
        self.lost: DeepSignsError | None = None

    def check(self) -> None:
        if self.lost:
            raise CouldNotCheckError(
                f"the lease was lost: {self.lost}", advice="the worker that took it goes on"
            )


@contextmanager
def _renewing(
    client: "MlflowClient", held: requests.HeldLease, signer: FileSigner
) -> Iterator[_Lease]:
    """Renews a lease in the background for as long as the block lasts."""
    state, stop = _Lease(), threading.Event()

    def renew() -> None:
        current, failing = held, 0.0
        while not stop.wait(LEASE_SECONDS / 4):
            try:
                current = requests.renew(client, current, signer, ttl=LEASE_SECONDS)
                failing = 0.0
            except CouldNotCheckError as error:
                # A server may restart; only a whole lease without an answer loses it.
                failing += LEASE_SECONDS / 4
                if failing >= LEASE_SECONDS:
                    state.lost = error
                    return
            except DeepSignsError as error:
                state.lost = error
                return

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield state
    finally:
        stop.set()
        thread.join()
