"""When an audit is due, and the lock that lets it run once.

There is no job store: an audit is due when the cron expression has fired since the last audit
that answered, and that audit is found in the signed reports. So a stopped scheduler catches up
by itself, and two schedulers cannot disagree.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from apscheduler.triggers.cron import CronTrigger

from deepsigns_registry.errors import ConfigurationError, CouldNotCheckError
from deepsigns_registry.sections import Deployment

__all__ = ["RETRY_AFTER", "check_schedule", "due", "exclusive"]

RETRY_AFTER = timedelta(minutes=10)
"""How long an audit that could not check waits before it is due again."""


def check_schedule(deployment: Deployment) -> CronTrigger:
    """Reads the deployment's cron expression (five fields, UTC).

    Raises:
        ConfigurationError: It is not a cron expression.

    Examples:
        >>> eu = Deployment(name="eu", model="fraud", target="model.onnx", schedule="0 3 * * *")
        >>> check_schedule(eu).get_next_fire_time(None, datetime(2026, 11, 26, tzinfo=UTC)).hour
        3
    """
    try:
        return CronTrigger.from_crontab(deployment.schedule, timezone=UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"deployment '{deployment.name}': schedule '{deployment.schedule}': {error}",
            advice='write five cron fields, for example "0 3 * * *" for 03:00 UTC every day',
        ) from None


def due(
    deployment: Deployment,
    *,
    last_answer: datetime | None,
    last_attempt: datetime | None,
    now: datetime,
) -> bool:
    """Whether the deployment must be audited now.

    An audit that could not check (the target was unreachable, the key missing) does not count
    as having run: nothing was learnt, and whoever can make a target unreachable for a minute
    must not thereby skip a day. It is due again `RETRY_AFTER` later, so that an outage of a
    night neither hides nor fills the reports folder.

    Args:
        deployment: Its `schedule` is read in UTC.
        last_answer: End of the last audit that reached a verdict, from its signed report;
            None when there is none, and then the audit is due.
        last_attempt: End of the last audit of any outcome, from its signed report.
        now: An aware time.

    Raises:
        ConfigurationError: The schedule is not a cron expression.

    Examples:
        >>> daily = Deployment(name="a", model="m", target="m.onnx", schedule="0 3 * * *")
        >>> monday = datetime(2026, 6, 1, 3, 0, tzinfo=UTC)
        >>> due(daily, last_answer=monday, last_attempt=monday, now=monday + timedelta(hours=23))
        False
        >>> due(daily, last_answer=monday, last_attempt=monday, now=monday + timedelta(hours=24))
        True
    """
    trigger = check_schedule(deployment)
    failed = last_attempt is not None and (last_answer is None or last_attempt > last_answer)
    if failed and last_attempt is not None and now < last_attempt + RETRY_AFTER:
        return False
    if last_answer is None:
        return True
    following = trigger.get_next_fire_time(last_answer, last_answer)
    return following is not None and following <= now


@contextmanager
def exclusive(folder: Path) -> Iterator[bool]:
    """Holds the folder's lock; gives False when another process holds it.

    The operating system releases the lock when its holder ends, however it ends.

    Raises:
        CouldNotCheckError: The folder cannot be written.

    Examples:
        >>> from deepsigns_registry.attestation.scratch import scratch_folder
        >>> with scratch_folder() as place, exclusive(place) as first, exclusive(place) as second:
        ...     first, second
        (True, False)
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CouldNotCheckError(
            f"audit reports folder {folder}: {error.strerror}",
            advice="check [audit] reports and the folder's rights",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
