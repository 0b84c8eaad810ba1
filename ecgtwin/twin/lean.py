"""The denoiser of a sampling run: what does not change over its steps is worked out before the first.

Shapes: B batch · Z latent channels · T latent samples · D width · U different vectors beside the timestep.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from reprlib import repr as brief
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.denoiser import Denoiser, Prediction, bind, read
from ..diffusion.schedule import Level
from ..nets.attention import Control, steered
from ..nets.dit import DiT
from ..nets.layers import sinusoid
from ..nets.lean import LeanDiT, Modulation
from .condition import Conditions
from .network import Prepared, TwinNetwork

LEAN = ("cpu", "cuda")
"""Devices with complex numbers."""
Precision = Literal["float32", "bfloat16"]
MISSED = 0.03
"""Relative difference of the network's answer in bfloat16 from that in float32 up to which bfloat16 is trusted; 0.006
is usual."""


class LeanTwin:
    """`network` under prepared conditions: `lean(x, t)` is `network(x, t, prepared)`, all of x (B, Z, T) at one t."""

    def __init__(self, network: TwinNetwork, prepared: Prepared, samples: int, *, dtype: torch.dtype = torch.float32):
        self.network = network
        told = prepared.keys[0][0] if prepared.vector is None else prepared.vector
        if prepared.vector is None:
            self.vectors, rows = 0.0, torch.zeros(len(told), dtype=torch.long, device=told.device)
        else:
            self.vectors, rows = torch.unique(prepared.vector, dim=0, return_inverse=True)  # (U, D), (B,)
        beside = prepared.beside
        if beside is not None:
            beside = beside.expand(len(told), network.dit.channels - network.latent, samples)
            self.draft = beside[:, : network.latent]
        self.rows = rows
        self.dit = LeanDiT(
            network.dit, (samples,), rows, keys=prepared.keys, mask=prepared.mask, beside=beside, dtype=dtype
        )
        self.known: dict[float, tuple[Modulation, Tensor | None]] = {}

    def expect(self, times: Sequence[float]) -> None:
        """Work out, in one product for each layer, what depends on the timestep alone, and keep it."""
        self.known |= dict(zip(times, self.worked_out(times), strict=True))

    def worked_out(self, times: Sequence[float]) -> list[tuple[Modulation, Tensor | None]]:
        """At each timestep: the modulation of all blocks, and the weights of what passes the body by (U, 2 Z)."""
        t = torch.tensor(times, dtype=torch.float32, device=self.rows.device)
        r = self.network.time(sinusoid(t, self.network.width))[:, None] + self.vectors  # (S, U, D)
        skips = [None] * len(times) if self.network.factor is None else self.network.skip(F.silu(r))
        return list(zip(self.dit.modulations(r), skips, strict=True))

    def __call__(self, x: Tensor, t: float) -> Tensor:
        modulation, skip = self.known[t] if t in self.known else self.worked_out([t])[0]
        answer = self.dit(x, modulation)
        if skip is None:
            return answer
        of_x, of_draft = skip[self.rows, :, None].chunk(2, dim=1)  # (B, Z, 1)
        answer[:, : self.network.latent].addcmul_(of_x, x).addcmul_(of_draft, self.draft)
        return answer


def run_of(
    network: TwinNetwork,
    conditions: Conditions | Prepared,
    samples: int,
    prediction: Prediction,
    levels: Sequence[Level] = (),
    *,
    dtype: torch.dtype = torch.float32,
    steer: Callable[[Level], Control] | None = None,
) -> Denoiser:
    """The denoiser of latents (B, Z, samples) under conditions. levels: those that will be asked for, where they are
    known; others may be. dtype: of the operands of the large products. steer: what its attention is under at a level,
    see `nets.attention`; the network itself is asked then.

    Where gradients or autocast are wanted, and on devices and networks that the lean pass does not know, the network
    itself is asked.
    """
    prepared = conditions if isinstance(conditions, Prepared) else network.prepare(conditions)
    learned = network.body.out != network.latent
    plain = bind(network, prepared, prediction, learned_variance=learned)
    if steer is not None:
        return steered(plain, network, steer)
    if not known(network) or network.null_base.device.type not in LEAN:
        return plain
    with torch.no_grad():
        lean = LeanTwin(network, prepared, samples, dtype=dtype)
        asked = [level.t for level in levels if level.sigma > 0]
        if asked:
            lean.expect(asked)
    quick = read(lambda x, at: lean(x, at.t), prediction, learned_variance=learned)

    def denoise(x: Tensor, at: Level):
        other = torch.is_grad_enabled() or torch.is_autocast_enabled(x.device.type) or x.dtype != torch.float32
        return plain(x, at) if other else quick(x, at)

    return denoise


def known(network: TwinNetwork) -> bool:
    """Whether the lean pass knows this network: a DiT with its condition beside its tokens, and a plain last norm."""
    return isinstance(network.body, DiT) and not network.body.context and network.body.last is None


def operands(precision: Precision, network: TwinNetwork, device: torch.device) -> torch.dtype:
    """The type of the operands of the network's large products under a precision that was asked for.

    bfloat16 only where this machine has instructions for it (it is quicker) and gets it right: some CPUs and versions
    of PyTorch do not. Else float32, with a warning that says why. ValueError for what is no precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision {brief(precision)}: expected one of {', '.join(get_args(Precision))}")
    if precision == "float32":
        return torch.float32
    if not known(network) or device.type not in LEAN:
        why = "it is for DiT networks on CPUs and CUDA"
    elif not quicker(torch.bfloat16, device):
        why = f"this {device.type} is no quicker with it"
    elif (missed := difference(network.dit, torch.bfloat16, device)) > MISSED:
        why = f"this {device.type} gets it wrong, by {missed:.0%} of the network's answer"
    else:
        return torch.bfloat16
    warnings.warn(f"precision bfloat16: {why}; float32 is used", RuntimeWarning, stacklevel=3)
    return torch.float32


@torch.inference_mode()
def quicker(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of such a type are quicker than those of float32."""
    found = {torch.float32: [], dtype: []}
    for one in [*found] * 4:
        a = torch.ones(512, 256, dtype=one, device=device)
        begin = time.perf_counter()
        (a @ a.T).sum().item()
        found[one].append(time.perf_counter() - begin)
    return min(found[dtype]) < min(found[torch.float32])


@torch.inference_mode()
def difference(dit: DiT, dtype: torch.dtype, device: torch.device) -> float:
    """RMS difference of a network's answer with operands of `dtype` from that in float32, relative to that one."""
    generator = torch.Generator().manual_seed(0)
    b, size, width = 3, 32 * dit.patch, dit.embed.out_features
    x, r, tokens = (
        torch.randn(shape, generator=generator).to(device)
        for shape in ((b, dit.channels, size), (b, width), (b, 3, width))
    )
    keys = dit.keys(tokens) if hasattr(dit.blocks[0], "cross") else None
    lean = LeanDiT(dit, (size,), torch.arange(b, device=device), keys=keys, dtype=dtype)
    (modulation,) = lean.modulations(r[None])
    expected = dit(x, r, keys)
    return float((lean(x, modulation) - expected).norm() / expected.norm().clamp(min=1e-30))
