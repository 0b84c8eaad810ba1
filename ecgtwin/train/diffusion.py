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
    prediction: Literal["eps", "v", "x0", "score", "flow"] = "v"
    min_snr: float | None = Field(None, gt=0.0, le=1e6)
    """gamma of the min-SNR weights (arXiv 2303.09556); null: every prediction counts as it comes."""

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
        if self.schedule == "flow" and self.prediction in ("eps", "score"):
            raise ValueError(
                f"schedule flow with prediction {self.prediction}: a flow begins at pure noise, where that says "
                "nothing of the sample; predict flow, v or x0"
            )
        return self
