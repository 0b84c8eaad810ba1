"""ecgtwin: what would this patient's ECG look like if their heart were in another state?

Research use only, not for clinical diagnosis. Names are imported when they are first used: `import
ecgtwin` alone loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ecg.record import ECG
    from .twin.condition import Condition
    from .twin.twin import ECGTwin

__version__ = "0.1.0"
__all__ = ["ECG", "Condition", "ECGTwin"]
PLACES = {"ECG": ".ecg.record", "Condition": ".twin.condition", "ECGTwin": ".twin.twin"}
"""In which module each public name lives."""


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'ecgtwin' has no attribute {name!r}: it has {', '.join(__all__)}")
    return getattr(import_module(PLACES[name], __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
