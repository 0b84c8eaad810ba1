"""Files of ECG machines: units, leads, rate, sex, age and statements arrive, the patient's name does not."""

import numpy as np
import pytest

from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.record import ECG
from ecgtwin.ecg.simulate import Person, simulate

from . import machine_files

pytest.importorskip(
    "ecgdatakit", reason="the extra `formats` is not installed: in a clone of ecgtwin run pip install '.[formats]'"
)

MACHINES = {  # ending, uV of a step, and whether the file holds age and statements
    "muse": ("xml", 4.88, True, True),
    "sierra": ("xml", 5.0, True, True),
    "aecg": ("xml", 2.0, True, True),
    "scp": ("scp", 2.5, True, False),
    "ishne": ("ecg", 1.0, True, False),
    "edf": ("edf", 16000 / 65535, False, False),
}


@pytest.fixture(scope="module")
def one() -> ECG:
    return simulate(Person.draw(40), "atrial fibrillation", seed=2)


@pytest.mark.parametrize("kind", MACHINES)
def test_what_a_machine_exports_is_read(tmp_path, one, kind):
    ending, step, aged, spoken = MACHINES[kind]
    path = getattr(machine_files, kind)(one, tmp_path / f"export.{ending}")
    found = ECG.read(path)
    assert found.rate == 500 and found.leads == (INDEPENDENT if kind == "muse" else LEADS)
    assert np.abs(found.signal - one.select(found.leads).signal).max() <= 0.0006 * step
    assert found.sex == "female" and found.age == (63 if aged else None)
    assert found.reports == (machine_files.STATEMENTS if spoken else ())
    assert found.patient is None and "4711" not in repr(found)
    assert found.heart_rate() == pytest.approx(one.heart_rate(), abs=0.1)
    assert ECG.read(path, identify=True).patient == "4711"


@pytest.mark.parametrize("kind", MACHINES)
def test_the_kind_is_told_by_the_content_where_the_ending_says_nothing(tmp_path, one, kind):
    path = getattr(machine_files, kind)(one, tmp_path / "a.bin")
    assert ECG.read(path).rate == 500


@pytest.mark.parametrize("kind", MACHINES)
def test_a_file_cut_off_is_refused_or_shorter_but_never_silently_wrong(tmp_path, one, kind):
    ending = MACHINES[kind][0]
    whole = getattr(machine_files, kind)(one, tmp_path / f"export.{ending}").read_bytes()
    for share in (0.02, 0.3, 0.9):
        part = tmp_path / f"part.{ending}"
        part.write_bytes(whole[: int(share * len(whole))])
        try:
            found = ECG.read(part)
        except ValueError:
            continue
        n = found.signal.shape[1]
        assert n < one.signal.shape[1]
        np.testing.assert_allclose(found.signal, one.select(found.leads).signal[:, :n], atol=0.006)


def test_a_real_dicom_of_another_maker():
    """The 12-lead sample that pydicom carries: a Mortara ELI 250 at 1000 Hz, 1.25 uV a step."""
    data = pytest.importorskip("pydicom.data")
    import pydicom

    path = data.get_testdata_file("waveform_ecg.dcm")
    found = ECG.read(path)
    theirs = pydicom.dcmread(path).waveform_array(0)  # in the sensitivity's unit, uV
    assert found.rate == 1000 and found.leads == LEADS and found.signal.shape == (12, 10_000)
    np.testing.assert_allclose(found.signal, theirs.T / 1000, atol=1e-5)
    assert found.sex == "female" and found.age == 42 and found.reports == ("RITMO SINUSALE", "ECG NORMALE")
    assert found.patient is None and found.heart_rate() == pytest.approx(75, abs=15)
    x = dict(zip(found.leads, found.signal, strict=True))
    assert np.abs(x["I"] + x["III"] - x["II"]).max() < 0.01


@pytest.mark.parametrize("rate", [500.0, 102.4])
def test_dicom_that_we_write_is_read_by_pydicom_and_by_us(tmp_path, one, rate):
    import pydicom

    ecg = one.resample(rate)
    path = ecg.write(tmp_path / "twin.dcm")
    data = pydicom.dcmread(path)
    assert data.SOPClassUID.name == "12-lead ECG Waveform Storage" and "SYNTHETIC" in data.SeriesDescription
    assert data.PatientName == "SYNTHETIC" and data.PatientAge == f"{int(one.age):03d}Y"
    assert data.WaveformSequence[0].SamplingFrequency == 500
    theirs = data.waveform_array(0).T / 1000
    expected = (ecg if rate == 500 else ecg.resample(500)).signal
    np.testing.assert_allclose(theirs, expected, atol=5.1e-4)
    ours = ECG.read(path)
    np.testing.assert_allclose(ours.signal, theirs, atol=1e-6)
    assert (ours.leads, ours.sex, ours.age, ours.reports) == (LEADS, one.sex, one.age, one.reports)
    assert ours.synthetic and ours.rate == 500 and not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_dicom_says_what_does_not_fit(tmp_path, one):
    with pytest.raises(ValueError, match="16,384"):
        ECG(np.zeros((12, 20_000), np.float32), 500, LEADS).write(tmp_path / "a.dcm")
    with pytest.raises(ValueError, match="32 mV"):
        ECG(np.full((12, 100), 40.0, np.float32), 500, LEADS).write(tmp_path / "a.dcm")


def test_anything_else_gets_a_sentence_with_the_formats(tmp_path):
    for name, content in (
        ("a.pdf", b"%PDF-1.7 ..."),
        ("b.xml", b"<html><body>no</body></html>"),
        ("c.doc", b"\xd0\xcf\x11\xe0"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match="dicom.*muse.*sierra.*aecg.*scp.*edf.*ishne.*export"):
            ECG.read(path)
    broken = tmp_path / "d.dcm"
    broken.write_bytes(bytes(128) + b"DICM" + bytes(50))
    with pytest.raises(ValueError, match="cannot be decoded"):
        ECG.read(broken)
