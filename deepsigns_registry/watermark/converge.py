"""Marking that looks at itself: rounds of fine-tuning until the mark is there and the task too.

One record, one tap, one model. After each round the mark is read from the model and its cost is
measured; what falls short decides about the next round (see `plan`). A model that gained more
than plain fine-tuning gives is refused: it has learned something that is no mark.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from deepsigns_registry.errors import CheckpointError, NotConvergedError, RefusedError
from deepsigns_registry.watermark.checkpoint import fingerprint, pack, unpack
from deepsigns_registry.watermark.data import TrainingData
from deepsigns_registry.watermark.embed import Checkpoint, Course, embed, fitting_targets
from deepsigns_registry.watermark.fidelity import Cost, mark_cost
from deepsigns_registry.watermark.observe import Observation, Observer, changed_answers
from deepsigns_registry.watermark.plan import (
    Goal,
    Round,
    has_strayed,
    is_acceptable,
    is_done,
    next_course,
    reweighed,
    shortfall,
)
from deepsigns_registry.watermark.record import WatermarkRecord
from deepsigns_registry.watermark.rounds import (
    observation_of,
    plain_observation,
    plain_round,
    round_of,
)
from deepsigns_registry.watermark.scheme import Scheme
from deepsigns_registry.watermark.settings import MarkSettings
from deepsigns_registry.watermark.tapped import TappedModel, run_batched

__all__ = ["Control", "Converged", "MarkProgress", "converge"]

MarkProgress = Callable[[float, str, Mapping[str, float]], None]
"""Told a fraction in [0, 1], the state of the marking, and figures that everybody may read."""

_WATCHED_SAMPLES = 1000
# Whoever waits sees how far this round is; further rounds have what is left.
_FIRST_SHARE = 0.8


@dataclass(frozen=True)
class Control:
    """What the same fine-tuning gives without a mark.

    Attributes:
        cost: Of the marked model, compared with it.
        changed: Share of answers that it changes, compared with the parent.
    """

    cost: Cost
    changed: float


@dataclass(frozen=True)
class Converged:
    """A marking that succeeded.

    Attributes:
        rounds: What was done, and what was seen after each round.
        seen: Of the model as it is now.
        control: The same fine-tuning without a mark; None when nothing asked for it.
    """

    rounds: tuple[Round, ...]
    seen: Observation
    control: Control | None = None


def converge(
    model: TappedModel,
    data: TrainingData,
    record: WatermarkRecord,
    settings: MarkSettings,
    goal: Goal,
    *,
    fresh: Callable[[], TappedModel],
    device: torch.device | str = "cpu",
    tries: int = 1,
    progress: MarkProgress | None = None,
    schemes: Iterable[Scheme] | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bytes | None = None,
) -> Converged:
    """Embeds a record's mark into a model, in place, in as many rounds as it takes.

    Args:
        model: The parent; trained in place.
        data: The owner's data.
        record: The secret.
        settings: The fine-tuning of the first round.
        goal: What is wanted of the mark and of the model.
        fresh: Gives the parent again; asked only when a control is needed.
        device: Where to train.
        tries: By what p-values are multiplied.
        progress: Told how it goes.
        schemes: Where to find the record's schemes; the built-in ones by default.
        checkpoint: See `embed`; told the step within the round.
        resume: A state that `checkpoint` was given, to go on from.

    Raises:
        NotConvergedError: The mark is too weak, costs too much or changes too many answers after
            all rounds; says what was tried, what fell short and which setting matters.
        RefusedError: The model gained more than plain fine-tuning explains.
        UnmarkableError: The model has nothing to train, or training diverged.
        CheckpointError: `resume` is no checkpoint of this marking; begin with a fresh copy.
    """
    place = torch.device(device)
    chosen = None if schemes is None else tuple(schemes)
    observer = Observer(model, record, data.validation, device=place, tries=tries, schemes=chosen)
    run = _Marking(
        model, data, record, settings, goal, device=place, observer=observer, schemes=chosen
    )
    run.report = progress or run.report
    run.checkpoint = checkpoint
    rounds = run.all_rounds(resume)
    seen = run.best(rounds)
    if seen is None:
        raise _not_converged(rounds, run.names, run.goal, observer.score)
    control = None
    if seen.changed > goal.max_changed or -seen.cost.drop > goal.max_drop:
        run.report(_FIRST_SHARE, "training the same without a mark", {})
        control = _compared(model, fresh(), data, settings, rounds, device=place)
        _check(seen, control, rounds, goal, observer.score)
    run.report(1.0, "marked", seen.figures(observer.score))
    return Converged(tuple(rounds), seen, control)


class _Marking:
    """The rounds of one marking, and what is kept between them."""

    def __init__(
        self,
        model: TappedModel,
        data: TrainingData,
        record: WatermarkRecord,
        settings: MarkSettings,
        goal: Goal,
        *,
        device: torch.device,
        observer: Observer,
        schemes: tuple[Scheme, ...] | None,
    ) -> None:
        self.model, self.data, self.record = model, data, record
        self.settings, self.goal, self.device = settings, goal, device
        self.observer, self.schemes = observer, schemes
        self.report: MarkProgress = lambda _fraction, _message, _figures: None
        self.checkpoint: Checkpoint | None = None
        self.factors: Mapping[str, float] = {}
        self.names = tuple(record.secrets)
        self._number = 1
        self._kept: tuple[Observation, dict[str, Any]] | None = None

    def all_rounds(self, resume: bytes | None) -> list[Round]:
        """Trains until there is nothing to be won any more."""
        belongs_to = ""
        if self.checkpoint is not None or resume is not None:
            belongs_to = fingerprint(self.model, self.data, self.record, self.settings, self.goal)
        targets = fitting_targets(self.model, self.data, self.settings, self.device)
        if targets.own:
            # Without a mark next to nothing would change.
            self.goal = replace(self.goal, held=True)
        rounds: list[Round] = []
        course: Course | None = Course()
        start: dict[str, Any] | None = None
        inner: bytes | None = None
        if resume is not None:
            rounds, start, inner = self._restored(unpack(resume, belongs_to))
            if rounds:
                course = next_course(rounds, self.names, self.goal)
        while course is not None:
            self._number, self.factors = len(rounds) + 1, course.factors
            save = None
            if self.checkpoint is not None:
                save = self._saver(self.checkpoint, rounds, start, belongs_to)
            trained = embed(
                self.model,
                self.data,
                self.record,
                self.settings,
                device=self.device,
                progress=self._within,
                schemes=self.schemes,
                checkpoint=save,
                resume=inner,
                course=course,
                watcher=self,
                targets=targets,
            )
            rounds.append(Round(course, trained.steps, self.observer.look(self.model)))
            self._keep(rounds[-1].seen)
            course = next_course(rounds, self.names, self.goal)
            if course is not None:
                start, inner = _state(self.model), None
        return rounds

    def best(self, rounds: list[Round]) -> Observation | None:
        """The best that was seen and is acceptable, and the model as it was then."""
        last = rounds[-1].seen
        if self._kept is None:
            return None
        if self._kept[0] is not last:
            self.model.load_state_dict(self._kept[1])
        return self._kept[0]

    def halfway(self, model: TappedModel) -> Mapping[str, float]:
        """Weighs anew what has evidence in plenty; see `Watcher`."""
        seen = self._seen(model, 0.5)
        self.factors = reweighed(seen, self.factors)
        return self.factors

    def passing(self, model: TappedModel, share: float) -> None:
        """Tells what is there so far; see `Watcher`."""
        self._seen(model, share)

    def _seen(self, model: TappedModel, share: float) -> Observation:
        seen = self.observer.look(model, most=_WATCHED_SAMPLES)
        figures = seen.figures(self.observer.score)
        self.report(self._overall(share), self._title(), figures)
        return seen

    def _within(self, share: float, message: str) -> None:
        self.report(self._overall(share), f"{self._title()}, {message}", {})

    def _title(self) -> str:
        return "marking" if self._number == 1 else f"marking, round {self._number}"

    def _overall(self, share: float) -> float:
        """Each further round has a part of what is left, as nobody knows how many there are."""
        left = 1.0
        for _ in range(self._number - 1):
            left *= 1 - _FIRST_SHARE
        return 1 - left + left * _FIRST_SHARE * share

    def _keep(self, seen: Observation) -> None:
        names = self.names
        if not is_acceptable(seen, names, self.goal):
            return
        known = self._kept[0] if self._kept else None
        done = is_done(seen, names, self.goal)
        if known is None or done or _rank(seen, names, self.goal) < _rank(known, names, self.goal):
            self._kept = seen, {} if done else _state(self.model)

    def _saver(
        self,
        checkpoint: Checkpoint,
        rounds: list[Round],
        start: dict[str, Any] | None,
        belongs_to: str,
    ) -> Checkpoint:
        known = json.dumps([plain_round(each) for each in rounds])
        kept = None if self._kept is None else (plain_observation(self._kept[0]), self._kept[1])

        def save(step: int, state: bytes) -> None:
            content = {
                "rounds": known,
                "start": start,
                "kept": None if kept is None else json.dumps(kept[0]),
                "kept_state": None if kept is None else kept[1],
                "inner": state,
            }
            checkpoint(step, pack(content, belongs_to))

        return save

    def _restored(self, state: dict[str, Any]) -> tuple[list[Round], dict[str, Any] | None, bytes]:
        try:
            rounds = [round_of(each) for each in json.loads(state["rounds"])]
            if state["kept"] is not None:
                self._kept = observation_of(json.loads(state["kept"])), state["kept_state"]
            if state["start"] is not None:
                self.model.load_state_dict(state["start"])
            return rounds, state["start"], state["inner"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint does not fit ({type(error).__name__})",
                advice="start without it",
            ) from None


def _rank(seen: Observation, schemes: Sequence[str], goal: Goal) -> tuple[int, float, float]:
    """Less is better: first what is short of what is wanted, then what it costs."""
    strayed = seen.changed if has_strayed(seen, goal) else 0.0
    return len(shortfall(seen, schemes, goal.wanted)), strayed, seen.cost.drop


def _state(model: TappedModel) -> dict[str, Any]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _compared(
    model: TappedModel,
    parent: TappedModel,
    data: TrainingData,
    settings: MarkSettings,
    rounds: list[Round],
    *,
    device: torch.device,
) -> Control:
    """Trains the same without a mark, as many steps in all, and compares the marked model."""
    held_out = data.validation
    before = run_batched(parent, held_out.inputs, device)[0]
    steps = sum(each.steps for each in rounds)
    embed(parent, data, None, settings, device=device, course=Course(steps=steps))
    plain = run_batched(parent, held_out.inputs, device)[0]
    marked = run_batched(model, held_out.inputs, device)[0]
    return Control(mark_cost(plain, marked, held_out), changed_answers(before, plain, held_out))


def _check(
    seen: Observation, control: Control, rounds: Sequence[Round], goal: Goal, score: str
) -> None:
    advice = "check that the data is what the model was trained on, and run: deepsigns check"
    # The whole interval: a few of few validation samples are won by accident.
    if -control.cost.high > goal.max_drop:
        raise RefusedError(
            f"the marked model has {-100 * control.cost.drop:.2f} points of {score} more on this "
            "data than the same fine-tuning without a mark gives",
            advice=advice,
        )
    beyond = seen.changed - control.changed
    if beyond > goal.max_changed:
        raise NotConvergedError(
            f"{_tried(rounds)} the marked model answers {100 * seen.changed:.1f}% of the "
            f"validation samples otherwise than its parent, {100 * beyond:.1f}% more than the "
            f"same fine-tuning without a mark; {100 * goal.max_changed:.1f}% are allowed "
            "(max_changed_answers)",
            advice=f"raise max_changed_answers, or {advice}",
        )


def _tried(rounds: Sequence[Round]) -> str:
    steps = " + ".join(str(each.steps) for each in rounds)
    times = "1 round" if len(rounds) == 1 else f"{len(rounds)} rounds"
    return f"after {times} of {steps} steps"


def _not_converged(
    rounds: list[Round], schemes: Sequence[str], goal: Goal, score: str
) -> NotConvergedError:
    last = min(rounds, key=lambda each: _distance(each.seen, schemes, goal)).seen
    tried = _tried(rounds)
    short = shortfall(last, schemes, goal.needed)
    if short:
        named = ", ".join(f"{name} reached log10 p {last.log10_p(name):.1f}" for name in short)
        return NotConvergedError(
            f"{tried} the mark is too weak: {named}, {goal.needed:.0f} is needed",
            advice=_remedy(short),
        )
    if last.unread:
        return NotConvergedError(
            f"{tried} the layer that carries the mark cannot be recognised any more: "
            f"{'; '.join(last.unread)}",
            advice="lower margin or learning_rate, or mark another layer",
            public=f"{tried} the layer that carries the mark cannot be recognised any more; lower "
            "margin or learning_rate, or mark another layer",
        )
    cost = last.cost
    return NotConvergedError(
        f"{tried} the mark would cost {100 * cost.drop:.2f} points of {score} (95% interval "
        f"{100 * cost.low:.2f} to {100 * cost.high:.2f}), {100 * goal.max_drop:.2f} are allowed "
        "(max_accuracy_drop)",
        advice="raise max_accuracy_drop, give more data, or lower queries or bits",
    )


def _remedy(short: list[str]) -> str:
    said = "raise epochs"
    if "whitebox" in short:
        said += ", lower bits"
    if "blackbox" in short:
        said += ', or leave the black box out: schemes = ["whitebox"]'
    return said


def _distance(seen: Observation, schemes: Sequence[str], goal: Goal) -> tuple[int, bool, float]:
    return len(shortfall(seen, schemes, goal.needed)), bool(seen.unread), seen.cost.drop
