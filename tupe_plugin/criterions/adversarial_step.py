"""A training step with adversarial noise, on any task.

`core/adversarial_loss.py` makes the passes; here is what a pass of fairseq's model is.
"""

from typing import Any

import torch

from ..core.adversarial_loss import adversarial_loss
from ..core.adversarial_methods import METHODS, SENTENCE, make_adversary
from ..core.bounds import flag
from ..core.divergence import Divergence
from ..core.learning_rate import warmup_share
from ..core.noise_sites import NoiseSite
from ..core.rdrop import RDropLoss
from .adversarial_options import AdversarialConfig, make_site, settings_of
from .loss_terms import loss_terms
from .quiet_term import QuietTerm
from .rdrop_step import doubled, loss_of_both
from .task_loss import Report, Sample, TaskLoss

UNIT_KEY = "adversarial_unit"
WORDS = 32  # of a usual sentence


class AdversarialStep:
    """Makes a task's training step an adversarial one.

    Raises:
        ValueError: an option is out of bounds, or does not go with another.
    """

    def __init__(self, cfg: AdversarialConfig, task: TaskLoss) -> None:
        self._method, self._settings = str(cfg.adv_method), settings_of(cfg)
        self._task = task
        self._alpha = cfg.rdrop_alpha
        self._warmup_updates, self._growth = cfg.adv_warmup_updates, 1.0
        self._unit_is_given = cfg.adv_unit is not None
        self._site: tuple[torch.nn.Module, NoiseSite] | None = None
        self._adversary = make_adversary(
            self._method, regression=task.regression, wrap=self._for_each_copy, **self._settings
        )
        self._quiet_term = _quiet_term(self._method, self._settings)

    def begin(self, model: torch.nn.Module, state: dict[str, Any] | None) -> str:
        """Look at the model before training.

        Args:
            model: that trains, with or without wrappers.
            state: what a resumed job's checkpoint keeps, or None.

        Returns:
            What the log should say of the noise.

        Raises:
            ValueError: the model has no place for the noise, or the job began before sizes were
                relative, and does not say which it means.
        """
        self.site_in(_unwrapped(model))
        unit = self._settings["unit"]
        if state is not None and UNIT_KEY not in state and not self._unit_is_given:
            raise ValueError(
                "this job began when sizes of noise were absolute and did not grow: go on with "
                "--adv-unit absolute --adv-warmup-updates 0"
            )
        said = f"noise of {self._method}: radius {self._settings['epsilon']:g}, {unit}"
        return said + self._lost_to_rounding(next(model.parameters()).dtype)

    def kept_state(self) -> dict[str, Any]:
        """What a checkpoint says of the sizes that its job used."""
        return {UNIT_KEY: self._settings["unit"]}

    def _lost_to_rounding(self, dtype: torch.dtype) -> str:
        """Noise spread over a sentence's words may be below a half-precision model's rounding."""
        of_sentence = METHODS[self._method].first_axis == SENTENCE
        spread_thin = of_sentence and self._settings["norm"] == "l2"
        entry = self._settings["epsilon"] / WORDS**0.5
        if not spread_thin or self._settings["unit"] == "absolute":
            return ""
        if not self._settings["epsilon"] or entry > torch.finfo(dtype).eps / 2:
            return ""
        name = str(dtype).removeprefix("torch.")
        return (
            f"; much of it is lost to the rounding of {name} in a sentence of {WORDS} words: "
            "train in --fp16 or --amp, or raise --adv-epsilon"
        )

    def before_update(self, updates: int, scheduler: Any) -> None:
        """Let the noise grow with the number of updates done."""
        warmup = self._warmup_updates
        if warmup is None:
            warmup = warmup_updates_of(scheduler)
        self._growth = warmup_share(updates, warmup_steps=warmup)

    def before_validation(self) -> None:
        """Say so if the noise changes nothing."""
        if self._quiet_term is not None:
            self._quiet_term.look()

    def __call__(self, model: Any, sample: Sample) -> tuple[torch.Tensor, Any, Report]:
        """What a criterion's forward returns."""
        bare = _unwrapped(model)
        given = doubled(sample) if self._alpha else sample
        predictions: list[torch.Tensor] = []
        rdrop: list[RDropLoss] = []

        def predict(through: Any) -> torch.Tensor:
            predictions.append(self._task.predict(through, given))
            return predictions[-1]

        def plain_loss(prediction: torch.Tensor) -> torch.Tensor:
            if not self._alpha:
                return self._task.loss(prediction, sample)
            rdrop.append(loss_of_both(self._task, prediction, sample, alpha=self._alpha))
            return rdrop[-1].total

        loss = adversarial_loss(
            self._adversary,
            self.site_in(bare),
            predict=lambda: predict(bare),
            last=lambda: predict(model),
            loss=plain_loss,
            tokens=given["net_input"]["src_tokens"],
            parameters=bare.parameters(),
            reduction="sum",
            growth=self._growth,
        )
        first = predictions[0].chunk(2)[0] if self._alpha else predictions[0]
        size, report = self._task.report(first, sample)
        terms = {"adversarial_loss": loss.adversarial, "task_loss": loss.task}
        if rdrop:
            terms["rdrop_divergence"] = rdrop[0].divergence
        if loss.task is not None and self._quiet_term is not None and self._growth == 1.0:
            self._quiet_term.note(loss.total, loss.task)
        # A masked-LM batch without a masked token predicts all tokens, and none of them counts.
        total = loss.total * (size > 0)
        return total, size, {**report, "loss": total.data, **loss_terms(**terms)}

    def site_in(self, model: torch.nn.Module) -> NoiseSite:
        """Where the noise enters this model; looked up once.

        Raises:
            ValueError: its encoder is of an unknown family, or lacks a layer of `--adv-layers`.
        """
        if self._site is None or self._site[0] is not model:
            self._site = model, make_site(self._method, self._settings, model)
        return self._site[1]

    def _for_each_copy(self, divergence: Divergence) -> Divergence:
        """Averaged over R-Drop's copies of the batch, as the plain losses are."""
        return lambda p, q: divergence(p, q) / (2 if self._alpha else 1)


def warmup_updates_of(scheduler: Any) -> int:
    """Updates over which the rate of one of fairseq's schedulers, or of ours, rises; 0 if none."""
    for of in (scheduler, getattr(scheduler, "cfg", None), getattr(scheduler, "args", None)):
        for name in ("warmup_updates", "warmup_steps"):
            if (updates := getattr(of, name, None)) is not None:
                return int(updates)
    return 0


def _quiet_term(method: str, settings: dict[str, Any]) -> QuietTerm | None:
    """None at radius or weight 0, which is plain training, and is meant to be."""
    if not settings["epsilon"] or not settings.get("weight", 1.0):
        return None
    raising = [
        flag(f"adv_{name}") for name in ("epsilon", "step_size", "weight") if name in settings
    ]
    return QuietTerm(
        f"--adv-method {method} with --adv-epsilon {settings['epsilon']:g}",
        f"raise {' or '.join(raising)}",
    )


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, without the wrappers that reduce gradients over workers."""
    while "module" in model._modules:
        model = model._modules["module"]  # type: ignore[assignment]
    return model
