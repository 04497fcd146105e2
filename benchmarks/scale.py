"""How large a run is: the whole thing, or the same in small."""

from dataclasses import dataclass, replace

from deepsigns_registry.watermark.settings import MarkSettings

__all__ = ["FULL", "QUICK", "Scale"]


@dataclass(frozen=True)
class Scale:
    """Sizes that differ between the full run and `--quick`; settings' names do not.

    Attributes:
        name: `full` or `quick`.
        seeds: Number of seeds.
        training: Training samples; 0 for all.
        validation: Samples that accuracy is measured on; 0 for all.
        share: Of the epochs that a setting names, at least one is run.
        steps: Most steps that an embedding on little data is stretched to; 0 leaves the setting.
        keys: Random keys for each null model.
        pairs: Pairs of a marked model and a control, for the detectors.
        repetitions: Of each timing.
    """

    name: str
    seeds: int
    training: int
    validation: int
    share: float
    steps: int
    keys: int
    pairs: int
    repetitions: int

    def epochs(self, named: int) -> int:
        """Epochs to run where a setting names some.

        Examples:
            >>> FULL.epochs(10), QUICK.epochs(10), QUICK.epochs(1)
            (10, 2, 1)
        """
        return max(1, round(named * self.share))

    def settings(self, settings: MarkSettings) -> MarkSettings:
        """The settings of an embedding at this scale."""
        if not self.steps:
            return settings
        epochs = min(settings.epochs, 2)
        steps = min(settings.minimum_steps, self.steps)
        return replace(settings, epochs=epochs, minimum_steps=steps)


FULL = Scale(
    name="full",
    seeds=5,
    training=0,
    validation=0,
    share=1.0,
    steps=0,
    keys=1_000_000,
    pairs=20,
    repetitions=7,
)
QUICK = Scale(
    name="quick",
    seeds=2,
    training=3_000,
    validation=1_000,
    share=0.2,
    steps=100,
    keys=20_000,
    pairs=5,
    repetitions=1,
)
