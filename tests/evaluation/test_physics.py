import numpy as np
import pytest

from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.record import ECG
from ecgtwin.evaluation.physics import limb_residual, residual
from ecgtwin.evaluation.reading import Reading


def test_derived_leads_obey_einthoven_and_a_shifted_one_does_not(tmp_path):
    x = np.random.default_rng(0).normal(0, 0.3, (2, 8, 1024)).astype(np.float32)
    twelve = ECG(x[0], 102.4, INDEPENDENT).select(LEADS)
    assert residual(twelve) < 0.1
    signal = twelve.signal.copy()
    signal[LEADS.index("aVF")] += 0.1
    assert residual(ECG(signal, 102.4, LEADS)) == pytest.approx(50, rel=1e-3)  # 100 uV in one of four equations
    assert np.isnan(residual(ECG(x[0, :2], 102.4, ("I", "II"))))
    written = limb_residual({"twin": Reading(x, 102.4, np.arange(2), None)}).rows["twin"]
    assert 0 < written.value < 1  # files of 1 uV a step
