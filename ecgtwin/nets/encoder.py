"""A convolutional encoder over one axis or two: features of a signal or image, and class scores from them.

Shapes: B batch · C channels · ... spatial axes · W width of the features.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Residual, conv


class Encoder(nn.Module):
    """(B, C, ...) -> scores (B, classes); `features` gives what they are read from, (B, W), W the last of `widths`.

    Each further level has half the resolution of the one before; features are means over the last one.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], classes: int, *, dims: int = 1, blocks: int = 1, groups: int = 8
    ):
        super().__init__()
        layers: list[nn.Module] = [conv(dims, channels, widths[0], 3, padding=1)]
        now = widths[0]
        for level, w in enumerate(widths):
            if level:
                layers.append(conv(dims, now, now, 3, stride=2, padding=1))
            for _ in range(blocks):
                layers.append(Residual(now, w, dims=dims, groups=groups))
                now = w
        self.body = nn.Sequential(*layers, nn.GroupNorm(groups, now), nn.SiLU())
        self.head = nn.Linear(now, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).flatten(2).mean(-1)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        return self.head(F.dropout(self.features(x), dropout, self.training))
