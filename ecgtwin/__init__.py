"""ecgtwin: what would this patient's ECG look like if their heart were in another state?

Research use only, not for clinical diagnosis.
"""

from .ecg.record import ECG
from .twin.condition import Condition
from .twin.twin import ECGTwin

__all__ = ["ECG", "Condition", "ECGTwin"]
