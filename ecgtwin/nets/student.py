"""A student of a denoiser: the same network with a low-rank change and one more input, how it is to be run.

Shapes: B batch · S settings of a run, such as guidance scales and the number of calls · D width of the network.
"""

import copy
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..atomic import write_file
from . import adapters
from .adapters import AdapterConfig
from .layers import mlp

NAME, HIDDEN, FORMAT = "student", 16, "1"


class Student(nn.Module):
    """A network that is also told the settings of its run: x (B, ...), t (B,), condition, settings (B, S) -> like x.

    network: has `prepare(condition)`, whose `vector` (B, D) joins the timestep; the settings' code, which starts at
    zero, joins it too. So at the start it answers as the network does. The network's own weights are frozen; what
    learns is the adapter and the code.
    """

    def __init__(self, network: nn.Module, width: int, settings: int, config: AdapterConfig):
        super().__init__()
        self.network, self.config = copy.deepcopy(network).requires_grad_(False), config
        self.base = adapters.fingerprint(self.network)
        adapters.attach(self.network, config, NAME)
        self.code = mlp(settings, HIDDEN, out=width)
        nn.init.zeros_(self.code[-1].weight)
        nn.init.zeros_(self.code[-1].bias)

    @property
    def settings(self) -> int:
        return self.code[0].in_features

    @staticmethod
    def told(scales: Tensor, calls: int) -> Tensor:
        """The settings of a run by guidance scales (B, S - 1), 1 being as learned, and number of calls: (B, S)."""
        return torch.cat([scales - 1, torch.full_like(scales[:, :1], math.log2(calls))], 1)

    def prepare(self, condition: Any, settings: Tensor) -> Any:
        """What does not depend on the timestep, as the network prepares it: do it once for a whole run."""
        prepared = self.network.prepare(condition)
        if prepared.vector is None:
            raise ValueError("inject: cross: nothing joins the timestep, so this network cannot be told how it is run")
        return prepared._replace(vector=prepared.vector + self.code(settings.to(prepared.vector.dtype)))

    def forward(self, x: Tensor, t: Tensor, wanted: tuple[Any, Tensor]) -> Tensor:
        """wanted: condition and settings."""
        return self.network(x, t, self.prepare(*wanted))

    def learned(self) -> dict[str, Tensor]:
        """What makes the student of the network, in half precision."""
        found = {f"{at}.{key}": p for at, d in adapters.deltas(self.network, NAME) for key, p in d.named_parameters()}
        found |= {f"code.{key}": p for key, p in self.code.named_parameters()}
        return {key: p.detach().cpu().half().contiguous() for key, p in found.items()}

    def merged(self) -> "Student":
        """Itself, the change added into the weights: the same answers, as fast as the network. It learns no more."""
        adapters.merge(self.network)
        return self.eval().requires_grad_(False)


def save(student: Student, path: Path, facts: dict[str, Any]) -> Path:
    """Write what was learned, not the network, whose fingerprint is named. facts: kept as they are, as JSON."""
    about = {"adapter": asdict(student.config), "base": student.base, "settings": student.settings, "facts": facts}
    meta = {"format": FORMAT, "student": json.dumps(about)}
    return write_file(Path(path), lambda part: save_file(student.learned(), part, metadata=meta))


def load(network: nn.Module, width: int, path: Path) -> tuple[Student, dict[str, Any]]:
    """The merged student of a network that `save` wrote, and its facts. ValueError: it is none, is damaged, or is of
    another network."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors, meta = {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
        about = json.loads(meta["student"])
        low = about["adapter"]
        config = AdapterConfig(low["kind"], int(low["rank"]), float(low["scale"]), tuple(low["targets"]))
        base, settings, facts = about["base"], int(about["settings"]), dict(about["facts"])
        if meta["format"] != FORMAT or config.rank > 1024 or not 1 <= settings <= 64:
            raise ValueError(f"format {meta['format']}, rank {config.rank}, {settings} settings")
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no student of format {FORMAT}: {str(error)[:200]}") from None
    student = Student(network, width, settings, config)
    if student.base != base:
        raise ValueError(f"{path} is the student of another network: distil this one (scripts/distill.py) in its place")
    expected = student.learned()
    wrong = expected.keys() ^ tensors.keys() or {
        k for k, p in expected.items() if p.shape != tensors[k].shape or not torch.isfinite(tensors[k].float()).all()
    }
    if wrong:
        raise ValueError(f"{path} does not fit its own configuration, among others at {min(wrong)}: it is damaged")
    put(student, tensors)
    return student.merged(), facts


@torch.no_grad()
def put(student: Student, tensors: dict[str, Tensor]) -> None:
    """Give a student what another had learned (`Student.learned`)."""
    for at, delta in adapters.deltas(student.network, NAME):
        for key, p in delta.named_parameters():
            p.copy_(tensors[f"{at}.{key}"])
    for key, p in student.code.named_parameters():
        p.copy_(tensors[f"code.{key}"])
