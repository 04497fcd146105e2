"""How much of the device's memory a piece of work took at most."""

from collections.abc import Callable

import torch

__all__ = ["peak_mib"]


def peak_mib(work: Callable[[], object], device: torch.device) -> float | None:
    """Does the work, and tells the peak of what torch had allocated meanwhile.

    What was allocated before counts, as it does for whoever has to fit the work on a device.

    Args:
        work: Is called once.
        device: Where it runs.

    Returns:
        MiB, or None on a processor, whose memory torch does not count.
    """
    if device.type != "cuda":
        work()
        return None
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
