"""Which statement the network looks at for which moment of an ECG, and ECGs whose statements are kept, replaced or
weighed by these maps (prompt-to-prompt). `attention` and `rewrite` are methods of `ECGTwin`.

Shapes: B requests · M statements · T latent samples · L samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.schedule import Level
from ..ecg.beats import Beats
from ..ecg.record import ECG
from ..nets.attention import Control, Edit, Maps
from .condition import Condition
from .request import Request, check_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .twin import ECGTwin


@dataclass(frozen=True, eq=False)
class Attention:
    """An ECG as it was drawn, and for each statement asked for where the network looked at it.

    maps (M, L): means over heads, layers and steps, at each moment with a sum of 1 over the statements. A statement
    alone has 1 everywhere: there is nothing else to look at.
    """

    ecg: ECG
    statements: tuple[str, ...]
    maps: np.ndarray

    def share(self, statement: str, inside: np.ndarray) -> tuple[float, float]:
        """(share of a statement's map that lies where `inside` (L,) is True, share of time that does): equal where the
        map knows nothing of the place. ValueError for a statement that was not asked for."""
        if statement not in self.statements:
            raise ValueError(f"{statement!r} was not asked for; there are: {', '.join(self.statements)}")
        row = self.maps[self.statements.index(statement)]
        return float(row[inside].sum() / row.sum()), float(inside.mean())

    def plot(self, statement: str, path: str | Path | None = None) -> "Path | Figure":
        """The ECG's sheet, darkest where the network looked most at a statement; see `ECG.plot` for path."""
        from ..ecg.plot import plot

        self.share(statement, np.ones(self.maps.shape[1], bool))
        row = self.maps[self.statements.index(statement)]
        low, high = float(row.min()), float(row.max())
        shade = (row - low) / max(high - low, 1e-6)
        title = f"{statement}: where the network looked ({low:.0%} white, {high:.0%} blue)"
        return plot(self.ecg, path, title=title, shade=shade)


def attention(
    model: "ECGTwin",
    reference: ECG,
    condition: Condition,
    *,
    reference_condition: Condition | None = None,
    beats: Beats | ECG | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Attention:
    """The ECG that `generate` draws of a reference, with the maps of its statements. Arguments and errors: `generate`.

    ValueError where no statement is asked for, or the model's network has no attention to them.
    """
    statements = model.normalise(condition.reports)
    if not statements:
        raise ValueError("attention: no statement is asked for, so there is none to look at")
    wanted = model.wanted(reference, condition, reference_condition)[0]
    requests = model.requests(reference, condition, [seed], reference_condition=reference_condition, beats=beats)
    maps = Maps(1)
    signal = model.sample(requests, steps=steps, steer=lambda at: maps)
    rows = over_time(maps.mean[0, : len(statements)], model.config.signal.samples)
    ecg = model.as_ecg(signal[0], wanted, reference, f"seed {seed}")
    return Attention(ecg, statements, rows.cpu().numpy())


def over_time(maps: Tensor, samples: int) -> Tensor:
    """Maps (M, N) of equal stretches of time -> (M, L), straight between the middles of the stretches."""
    return F.interpolate(maps[None], samples, mode="linear", align_corners=False)[0]


@torch.inference_mode()
def rewrite(
    model: "ECGTwin",
    reference: ECG,
    condition: Condition,
    *,
    source: Condition | None = None,
    weights: Mapping[str, float] | None = None,
    kept: float = 0.8,
    reference_condition: Condition | None = None,
    n: int = 1,
    beats: Beats | ECG | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    base_guidance: float | None = None,
    seed: int = 0,
) -> list[ECG]:
    """`n` ECGs as `generate` draws them, with the attention to their statements edited (arXiv 2208.01626).

    source: the condition whose ECGs, of the same noise and beats, the wanted ones shall resemble: for the first `kept`
    (0 to 1) of the steps a statement of both is looked at where the source's run looks at it, and where as many went
    as came, a new one where the one was that it replaces. None: nothing is taken over. weights: how strongly
    statements count, 1 = as learned, 0 = not at all; beside guidance, which scales all of them. The other arguments
    and errors: `generate`; ValueError for a weight of what is not asked for.
    """
    if not 0 <= kept <= 1:
        raise ValueError(f"kept {kept}: expected 0 (nothing of the source's attention) to 1 (in all steps)")
    if guidance == 0:
        raise ValueError("guidance 0 asks no statement: give another number, or use generate")
    check_seed(seed, n)
    seeds = [seed + k for k in range(n)]
    wanted = model.wanted(reference, condition, reference_condition)[0]
    requests = model.requests(reference, condition, seeds, reference_condition=reference_condition, beats=beats)
    before: list[Request] = []
    if source is not None:
        own = model.wanted(reference, source, reference_condition)[0]
        before = [one._replace(condition=same_heart_rate(own, one.condition)) for one in requests]
    scales = model.scales(requests[0], guidance, base_guidance)
    signals = [
        edited(model, before[k : k + 1], requests[k : k + 1], weights or {}, kept, steps, scales) for k in range(n)
    ]
    return [model.as_ecg(x, wanted, reference, f"seed {seed + k}, rewritten") for k, x in enumerate(signals)]


def same_heart_rate(condition: Condition, like: Condition) -> Condition:
    """A condition at the heart rate of another: that of the beats which both are drawn at."""
    return Condition(condition.reports, condition.sex, condition.age, like.heart_rate)


def edited(
    model: "ECGTwin",
    before: Sequence[Request],
    requests: Sequence[Request],
    weights: Mapping[str, float],
    kept: float,
    steps: int | None,
    scales: tuple[float, float],
) -> Tensor:
    """The signal (8, L) of one request, drawn beside its source where it has one."""
    texts, sources = ([model.normalise(r.condition.reports) for r in part] for part in (requests, before))
    names = {model.vocabulary.normalise(name): weight for name, weight in weights.items()}
    early, late = (Edit.of(texts, names, before=sources, kept=early).to(model.device) for early in (True, False))
    steps = model.config.sampling.steps if steps is None else steps
    levels = model.schedule
    last = levels.noisiest - ceil(kept * steps) / steps * (levels.noisiest - levels.clean)

    def steer(at: Level) -> Control:
        return early if at.t > last else late

    signals = model.sample([*before, *requests], steps=steps, guidance=scales[0], base_guidance=scales[1], steer=steer)
    return signals[-1]
