"""What a denoiser predicts and on which noise levels: the same configuration for ECGs and images."""

from typing import Literal

from pydantic import Field, model_validator

from .plan import Positive
from .strict import Strict


class DiffusionConfig(Strict):
    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid", "flow"] = "cosine"
    steps: Positive = 1000
    start: float | None = None
    """First beta of `linear` and `scaled_linear`, as of 1000 steps; null: the schedule's own."""
    end: float | None = None
    """Last beta."""
    zero_terminal: bool = False
    """Move the last level to pure noise (arXiv 2305.08891); needs prediction v, x0 or flow."""
    prediction: Literal["eps", "v", "x0", "score", "flow"] = "v"
    min_snr: float | None = Field(None, gt=0.0)
    """gamma of the min-SNR weights (arXiv 2303.09556); null: every prediction counts as it comes."""

    @model_validator(mode="after")
    def learnable(self):
        if self.zero_terminal and self.prediction in ("eps", "score"):
            raise ValueError(
                f"zero_terminal with prediction {self.prediction}: at pure noise it says nothing of the "
                "sample; predict v or x0"
            )
        if self.zero_terminal and self.schedule == "flow":
            raise ValueError("zero_terminal with schedule flow: a flow begins at pure noise already; leave it out")
        return self
