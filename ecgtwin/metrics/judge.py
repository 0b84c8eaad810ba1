"""An independent reader of rhythm: openecg's codec (Apache-2.0, extra `judge`), trained by others on real ECGs only.

It reads lead II, so it cannot tell a left from a right bundle branch block.
"""

from collections.abc import Callable

import numpy as np
from scipy.signal import resample_poly

CLASSES = ("sinus", "avb", "paced", "afib", "bbb", "ventricular")
"""The order of the judge's rhythm output."""
RATE, SAMPLES = 500, 5000
Judge = Callable[[np.ndarray, float], np.ndarray]


def load_judge() -> Judge:
    """Lead II (L,) and its rate in Hz -> probability of each of `CLASSES`, the mean of the inner 6 of 10 s.

    ImportError, saying what to install, where openecg is missing.
    """
    try:
        import onnxruntime
        from openecg.deploy import bundled_codec_onnx_path
        from openecg.dsp import rank_normalize
    except ImportError as error:
        raise ImportError(
            f"the judge is not installed ({error}): in a clone of ecgtwin run pip install '.[judge]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(bundled_codec_onnx_path("v6")), options, providers=["CPUExecutionProvider"]
    )
    name = next(output.name for output in session.get_outputs() if "rhythm" in output.name)

    def probabilities(lead: np.ndarray, rate: float) -> np.ndarray:
        lead = at_500(np.asarray(lead, np.float64), rate)
        lead = np.pad(lead, (0, max(0, SAMPLES - len(lead))), mode="edge")[:SAMPLES]
        logits = session.run([name], {session.get_inputs()[0].name: np.float32(rank_normalize(lead))[None]})[0][0]
        logits = logits[1000:4000].astype(float)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return (odds / odds.sum(1, keepdims=True)).mean(0)

    return probabilities


def at_500(lead: np.ndarray, rate: float) -> np.ndarray:
    """Resampled to the judge's rate; rates are multiples of 0.1 Hz."""
    if rate == RATE:
        return lead
    up, down = RATE * 10, round(rate * 10)
    common = np.gcd(up, down)
    return resample_poly(lead, up // common, down // common, padtype="line")
