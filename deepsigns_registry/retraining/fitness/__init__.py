"""Whether the owner's data is the data of this model, judged before anything is trained.

    described = Described.of(folder, metrics)       what the version says of itself
    judgement = judge_data(model, data, described, device=device)
    judgement.require()                             raises DataError with the likely reason

One family of checks a file. A check refuses only where data that the parent was trained on, or
an ordinary sample of the same distribution, would be refused with a chance of at most
`exact.RATE`; what is merely odd is a finding that does not refuse.
"""

from deepsigns_registry.retraining.fitness.described import Described
from deepsigns_registry.retraining.fitness.finding import Finding, Judgement
from deepsigns_registry.retraining.fitness.judge import judge_data

__all__ = ["Described", "Finding", "Judgement", "judge_data"]
