"""Writing DICOM 12-lead ECG waveforms (PS3.3 A.34.3), with pydicom (extra `formats`). They are
read like all exported files."""

from datetime import datetime
from pathlib import Path

import numpy as np

from ..record import ECG

CODES = {"I": "2:1", "II": "2:2", "V1": "2:3", "V2": "2:4", "V3": "2:5", "V4": "2:6", "V5": "2:7", "V6": "2:8"}
CODES |= {"III": "2:61", "aVR": "2:62", "aVL": "2:63", "aVF": "2:64"}
"""Lead codes of ISO/IEEE 11073-10101 (scheme MDC), as PS3.16 context group 3001 lists them."""
RATES = (200.0, 1000.0)
"""Hz within which the standard wants a 12-lead ECG; others are resampled to 500."""
STEP = 1.0
"""uV of one digital step."""
NOTICE = "SYNTHETIC ECG, research use only, not for clinical diagnosis"


def write(ecg: ECG, folder: Path, name: str) -> None:
    """Signed 16 bits of 1 uV. Sex, age and statements are written, the patient's name is not;
    `patient` becomes the patient's ID.

    Below 200 and above 1000 Hz the ECG is resampled to 500 Hz, as the standard asks. ValueError
    beyond 32 mV or 16,384 samples.
    """
    try:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid
    except ImportError as error:
        raise ImportError(f"DICOM files need: in a clone of ecgtwin run pip install '.[formats]' ({error})") from None
    if not RATES[0] <= ecg.rate <= RATES[1]:
        ecg = ecg.resample(500.0)
    digital = np.round(ecg.signal.astype(np.float64) * 1000 / STEP)
    if not np.isfinite(digital).all() or np.abs(digital).max() > 32767:
        raise ValueError(f"{name}: DICOM holds finite values within 32 mV; crop or repair the ECG first")
    if digital.shape[1] > 16_384:
        raise ValueError(f"{name}: {digital.shape[1]} samples: a DICOM 12-lead ECG holds 16,384 at most: crop it first")
    now = datetime.now()
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = TwelveLeadECGWaveformStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(prefix=None)
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SpecificCharacterSet = "ISO_IR 192"
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    data.StudyID = data.AccessionNumber = data.ReferringPhysicianName = data.PatientBirthDate = data.StudyTime = ""
    data.SeriesNumber, data.InstanceNumber, data.Modality = "1", "1", "ECG"
    data.Manufacturer, data.ManufacturerModelName = "ecgtwin", "ecgtwin"
    data.StudyDate = data.ContentDate = now.strftime("%Y%m%d")
    data.AcquisitionDateTime, data.ContentTime = now.strftime("%Y%m%d%H%M%S"), now.strftime("%H%M%S")
    data.PatientName, data.PatientID = "SYNTHETIC" if ecg.synthetic else "", (ecg.patient or "")[:64]
    data.PatientSex = {"female": "F", "male": "M", None: ""}[ecg.sex]
    if ecg.age is not None:
        data.PatientAge = f"{min(int(ecg.age), 999):03d}Y"
    if ecg.synthetic:
        data.SeriesDescription = NOTICE
    data.AcquisitionContextSequence = []
    group = Dataset()
    group.MultiplexGroupTimeOffset = "0"
    group.WaveformOriginality = "DERIVED" if ecg.synthetic else "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = digital.shape
    group.SamplingFrequency = f"{ecg.rate:g}"
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = [channel(lead) for lead in ecg.leads]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = digital.T.astype("<i2").tobytes()
    data.WaveformSequence = [group]
    if ecg.reports:
        data.WaveformAnnotationSequence = [statement(text, k) for k, text in enumerate(ecg.reports)]
    data.save_as(folder / f"{name}.dcm", enforce_file_format=True)


def channel(lead: str):
    from pydicom.dataset import Dataset

    one = Dataset()
    one.ChannelSourceSequence = [code(CODES[lead], "MDC", f"Lead {lead}")]
    one.ChannelSensitivity, one.ChannelSensitivityUnitsSequence = f"{STEP:g}", [code("uV", "UCUM", "microvolt")]
    one.ChannelSensitivityCorrectionFactor, one.ChannelBaseline, one.ChannelSampleSkew = "1", "0", "0"
    one.WaveformBitsStored = 16
    return one


def statement(text: str, number: int):
    from pydicom.dataset import Dataset

    one = Dataset()
    one.AnnotationGroupNumber, one.UnformattedTextValue = number, text
    one.ReferencedWaveformChannels = [1, 0]
    return one


def code(value: str, scheme: str, meaning: str):
    from pydicom.dataset import Dataset

    one = Dataset()
    one.CodeValue, one.CodingSchemeDesignator, one.CodeMeaning = value, scheme, meaning
    return one
