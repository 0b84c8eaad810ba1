"""What a denoiser predicts and on which noise levels: the same configuration for ECGs and images."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .strict import Strict

Levels = Annotated[int, Field(ge=1, le=100_000)]
"""A limit far beyond any sensible model: a tampered configuration must not keep a machine busy for ever."""
Beta = Annotated[float, Field(gt=0.0, lt=1.0)]


class DiffusionConfig(Strict):
    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid", "flow"] = "cosine"
    steps: Levels = 1000
    start: Beta | None = None
    """First beta of `linear` and `scaled_linear`, as of 1000 steps; null: the schedule's own."""
    end: Beta | None = None
    """Last beta."""
    zero_terminal: bool = False
    """Move the last level to pure noise (arXiv 2305.08891); needs prediction v, x0 or flow."""
    prediction: Literal["eps", "v", "x0", "score", "flow", "edm"] = "v"
    """edm: the preconditioning of arXiv 2206.00364 for data of standard deviation `data_std`."""
    data_std: float = Field(1.0, gt=0.0, le=1e6)
    """Latents have 1; pixels in [-1, 1] about 0.5."""
    learned_variance: bool = False
    """Whether the network also answers the variance of a step (arXiv 2102.09672, hybrid loss), for DDPM's steps."""
    min_snr: float | None = Field(None, gt=0.0, le=1e6)
    """gamma of the min-SNR weights (arXiv 2303.09556); null, here and below: every prediction counts as it comes."""
    p2: float | None = Field(None, gt=0.0, le=100.0)
    """gamma of the P2 weights (arXiv 2204.00227)."""
    snr: float | None = Field(None, ge=0.0, le=1e6)
    """Least weight of the SNR weights on x0 (arXiv 2202.00512): 0 is the plain eps loss, 1 the truncated SNR."""
    levels: Literal["uniform", "lognormal"] = "uniform"
    """Which noise is trained on: all levels alike, or ln(sigma/alpha) of a normal distribution (arXiv 2206.00364)."""
    levels_mean: float = Field(-1.2, ge=-20.0, le=20.0)
    levels_std: float = Field(1.2, gt=0.0, le=20.0)

    @model_validator(mode="after")
    def learnable(self):
        given = [name for name in ("start", "end") if getattr(self, name) is not None]
        if given and "linear" not in self.schedule:
            raise ValueError(f"{given[0]} with schedule {self.schedule}, which has no betas to choose: leave it out")
        if self.zero_terminal and self.prediction in ("eps", "score"):
            raise ValueError(
                f"zero_terminal with prediction {self.prediction}: at pure noise it says nothing of the "
                "sample; predict v or x0"
            )
        if self.zero_terminal and self.schedule == "flow":
            raise ValueError("zero_terminal with schedule flow: a flow begins at pure noise already; leave it out")
        weights = [name for name in ("min_snr", "p2", "snr") if getattr(self, name) is not None]
        if len(weights) > 1:
            raise ValueError(f"{' and '.join(weights)}: two kinds of weights; keep one")
        if self.learned_variance and (self.schedule == "flow" or self.zero_terminal):
            raise ValueError(
                "learned_variance: the variance of a step is learned on schedules with noise left at the end"
            )
        if self.schedule == "flow" and self.prediction in ("eps", "score"):
            raise ValueError(
                f"schedule flow with prediction {self.prediction}: a flow begins at pure noise, where that says "
                "nothing of the sample; predict flow, v or x0"
            )
        return self
