"""How a run goes from noise to sample, as options: solver, which levels it visits, where guidance acts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import HOW

if TYPE_CHECKING:
    from ..diffusion.levels import Spacing
    from ..diffusion.schedule import Flow, Schedule
    from ..diffusion.solvers import Solver


class Sampler(StrEnum):
    dpmpp = "dpm++"
    dpmpp_1s = "dpm++1s"
    dpmpp_2s = "dpm++2s"
    dpmpp_3m = "dpm++3m"
    dpmpp_sde = "dpm++sde"
    dpm = "dpm"
    unipc = "unipc"
    ddim = "ddim"
    ddpm = "ddpm"
    ddpm_large = "ddpm-large"
    ddpm_learned = "ddpm-learned"
    euler = "euler"
    euler_a = "euler-a"
    heun = "heun"
    pndm = "pndm"


class Levels(StrEnum):
    trailing = "trailing"
    leading = "leading"
    linspace = "linspace"
    karras = "karras"
    logsnr = "logsnr"


SolverOption = Annotated[
    Sampler | None, typer.Option("--solver", help="how to step; dpm++ (2M) if left out", rich_help_panel=HOW)
]
Eta = Annotated[
    float | None,
    typer.Option(
        help="with ddim, euler-a and dpm++: fresh noise of a step, 0 (none) to 1 (as DDPM)", rich_help_panel=HOW
    ),
]
LevelsOption = Annotated[
    Levels,
    typer.Option(
        "--levels",
        help="which noise levels are visited (karras: arXiv 2206.00364; logsnr: evenly)",
        rich_help_panel=HOW,
    ),
]
Shift = Annotated[
    float,
    typer.Option(help="above 1: more of the levels where there is much noise (arXiv 2403.03206)", rich_help_panel=HOW),
]
Interval = Annotated[
    str | None,
    typer.Option(
        help="LOW:HIGH log-SNR within which guidance acts (arXiv 2404.07724); all if left out", rich_help_panel=HOW
    ),
]

Guide = Annotated[
    str | None,
    typer.Option(
        "--classifier", metavar="FILE=SCALE",
        help="a classifier of noisy samples (scripts/train_classifier.py) and how strongly it guides beside --guidance",
        rich_help_panel=HOW,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Walk:
    """What was asked for; None and the first of each: as the model draws by itself."""

    solver: str | None = None
    eta: float | None = None
    levels: str = "trailing"
    shift: float = 1.0
    interval: tuple[float, float] | None = None
    classifier: tuple[str, float] | None = None

    def guided_by(self, model: Any) -> Any:
        """The classifier as an ECG or image model takes it, with its scale."""
        return None if self.classifier is None else (model.load_classifier(self.classifier[0]), self.classifier[1])

    def solver_on(self, schedule: "Schedule | Flow") -> "Solver | None":
        """ValueError for a solver that goes without eta."""
        from ..diffusion import solvers as s

        name, eta = Sampler(self.solver or Sampler.dpmpp), self.eta
        if eta is not None and name not in (Sampler.ddim, Sampler.euler_a, Sampler.dpmpp):
            raise ValueError(f"--eta is for ddim, euler-a and dpm++, not for {name.value}: leave it out")
        match name:
            case Sampler.dpmpp:
                return None if self.solver is None and eta is None else s.DpmPP(2, eta=eta or 0.0)
            case Sampler.dpmpp_1s:
                return s.DpmPP(1)
            case Sampler.dpmpp_2s:
                return s.DpmPPSingle(schedule.level_at)
            case Sampler.dpmpp_3m:
                return s.DpmPP(3, start=s.DpmPPSingle(schedule.level_at))
            case Sampler.dpmpp_sde:
                return s.DpmPP(2, eta=1.0)
            case Sampler.dpm:
                return s.DpmSolver(schedule.level_at)
            case Sampler.unipc:
                return s.UniPC(2)
            case Sampler.ddim:
                return s.DDIM(eta or 0.0)
            case Sampler.euler:
                return s.Euler()
            case Sampler.euler_a:
                return s.EulerAncestral(1.0 if eta is None else eta)
            case Sampler.heun:
                return s.Heun()
            case Sampler.pndm:
                return s.PNDM()
        return s.DDPM({"ddpm": "small", "ddpm-large": "large", "ddpm-learned": "learned"}[name.value])

    def spacing(self) -> "Spacing":
        """Schedule and steps -> the levels of a run."""
        from ..diffusion import levels as spacings

        chosen = {
            Levels.trailing: spacings.trailing,
            Levels.leading: spacings.leading,
            Levels.linspace: spacings.linspace,
            Levels.karras: spacings.karras,
            Levels.logsnr: spacings.uniform_logsnr,
        }[Levels(self.levels)]
        if self.shift == 1:
            return chosen
        return lambda schedule, steps: spacings.shifted(schedule, chosen(schedule, steps), self.shift)


def interval_of(text: str | None) -> tuple[float, float] | None:
    """ValueError for what is no LOW:HIGH."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"--interval {text}: expected LOW:HIGH log-SNR such as -3:5") from None


def classifier_of(text: str | None) -> tuple[str, float] | None:
    """File and scale; ValueError for what is no FILE=SCALE."""
    if text is None:
        return None
    file, _, scale = text.rpartition("=")
    try:
        return file or text, float(scale)
    except ValueError:
        raise ValueError(f"--classifier {text}: expected FILE=SCALE such as weights.safetensors=2") from None
