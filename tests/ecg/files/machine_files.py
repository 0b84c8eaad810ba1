"""Files as ECG machines export them, written here from the published layouts: nothing is shared with the readers.

Each writes an ECG of a 63-year-old woman, with a report, and returns the path. Signals are integers of a few uV.
"""

import binascii
import struct
from base64 import b64encode
from pathlib import Path

import numpy as np

from ecgtwin.ecg.record import ECG

STATEMENTS = ("Atrial fibrillation", "Right bundle branch block")


def steps(ecg: ECG, uv: float) -> np.ndarray:
    return np.round(ecg.signal * 1000 / uv).astype("<i2")


def muse(ecg: ECG, path: Path, encoding: str = "iso-8859-1") -> Path:
    """GE MUSE: restecg.dtd; eight leads of base64 at 4.88 uV a step."""
    eight = ecg.select(("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))
    rows = zip(eight.leads, steps(eight, 4.88), strict=True)
    leads = "".join(
        f"<LeadData><LeadByteCountTotal>{2 * len(x)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
        f"<LeadSampleCountTotal>{len(x)}</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
        f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{name}</LeadID><LeadSampleSize>2</LeadSampleSize>"
        f"<LeadDataCRC32>{binascii.crc32(x.tobytes())}</LeadDataCRC32><WaveFormData>{b64encode(x.tobytes()).decode()}</WaveFormData>"
        "</LeadData>"
        for name, x in rows
    )
    said = "".join(
        f"<DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>{s}</StmtText></DiagnosisStatement>"
        for s in STATEMENTS
    )
    path.write_text(
        f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG>'
        "<MuseInfo><MuseVersion>9.0</MuseVersion></MuseInfo><PatientDemographics><PatientID>4711</PatientID>"
        "<PatientAge>63</PatientAge><AgeUnits>YEARS</AgeUnits><Gender>FEMALE</Gender><PatientLastName>Müller</PatientLastName>"
        f"</PatientDemographics><Diagnosis><Modality>RESTING</Modality>{said}</Diagnosis>"
        "<Waveform><WaveformType>Median</WaveformType><SampleBase>500</SampleBase><SampleExponent>0</SampleExponent>"
        f"{leads}</Waveform><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>{ecg.rate:g}</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{leads}</Waveform></RestingECG>",
        encoding=encoding,
    )
    return path


def sierra(ecg: ECG, path: Path) -> Path:
    """Philips Sierra 1.04, in 16 bits a letter as PageWriters write it, without compression; 5 uV a step."""
    x = steps(ecg, 5.0)
    labels = " ".join(ecg.leads)
    said = "".join(
        f"<statement><statementcode>X</statementcode><leftstatement>{s}</leftstatement></statement>" for s in STATEMENTS
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-16"?><restingecgdata xmlns="http://www3.medical.philips.com">'
        "<documentinfo><documenttype>SierraECG</documenttype><documentversion>1.04</documentversion></documentinfo>"
        "<patient><generalpatientdata><patientid>4711</patientid><age><years>63</years></age><sex>Female</sex>"
        "</generalpatientdata></patient>"
        '<dataacquisition date="2020-02-03" time="10:11:12"><signalcharacteristics>'
        f"<samplingrate>{ecg.rate:g}</samplingrate><resolution>5</resolution><acquisitiontype>STD-12</acquisitiontype>"
        "<numberchannelsvalid>12</numberchannelsvalid><numberchannelsallocated>12</numberchannelsallocated>"
        "<bitspersample>16</bitspersample><signalsigned>True</signalsigned></signalcharacteristics></dataacquisition>"
        f"<interpretations><interpretation>{said}</interpretation></interpretations><waveforms>"
        f'<parsedwaveforms dataencoding="Base64" compression="Uncompressed" leadlabels="{labels}" numberofleads="12" '
        f'durationperchannel="{1000 * ecg.seconds:g}">{b64encode(x.tobytes()).decode()}</parsedwaveforms>'
        "</waveforms></restingecgdata>",
        encoding="utf-16",
    )
    return path


def aecg(ecg: ECG, path: Path) -> Path:
    """HL7 aECG (PORT_MT020001): digits in 2 uV steps."""
    rows = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{name.upper()}" '
        'codeSystem="2.16.840.1.113883.6.24"/><value xsi:type="SLIST_PQ">'
        '<origin value="0" unit="uV"/><scale value="2" '
        f'unit="uV"/><digits>{" ".join(map(str, x))}</digits></value></sequence></component>'
        for name, x in zip(ecg.leads, steps(ecg, 2.0), strict=True)
    )
    said = "".join(
        '<component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/><value '
        f'xsi:type="ST">{s}</value></annotation></component>'
        for s in STATEMENTS
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<id root="1.2.3"/><effectiveTime><low value="20200203101112"/></effectiveTime>'
        '<componentOf><timepointEvent><componentOf><subjectAssignment><subject><trialSubject><id root="1.2" '
        'extension="4711"/>'
        '<subjectDemographicPerson><administrativeGenderCode code="F"/><birthTime '
        'value="19570101"/></subjectDemographicPerson>'
        "</trialSubject></subject></subjectAssignment></componentOf></timepointEvent></componentOf>"
        '<component><series><code code="RHYTHM"/><component><sequenceSet><component><sequence><code '
        'code="TIME_ABSOLUTE"/>'
        f'<value xsi:type="GLIST_TS"><head value="20200203101112"/><increment value="{1 / ecg.rate:.6f}" '
        'unit="s"/></value></sequence>'
        f"</component>{rows}</sequenceSet></component><subjectOf><annotationSet><component><annotation>"
        f'<code code="MDC_ECG_INTERPRETATION"/>{said}</annotation></component></annotationSet></subjectOf></series>'
        "</component></AnnotatedECG>",
        encoding="utf-8",
    )
    return path


def scp(ecg: ECG, path: Path) -> Path:
    """SCP-ECG (EN 1064): sections 0, 1, 3 and 6 without compression; 2.5 uV a step."""
    codes = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {f"V{k}": k + 2 for k in range(1, 7)}
    x = steps(ecg, 2.5)
    n = x.shape[1]

    def section(number: int, body: bytes) -> bytes:
        body += b"\x00" * (len(body) % 2)
        head = struct.pack("<HIBB", number, 16 + len(body), 20, 20) + (b"SCPECG" if number == 0 else bytes(6))
        return struct.pack("<H", binascii.crc_hqx(head + body, 0xFFFF)) + head + body

    def tag(number: int, value: bytes) -> bytes:
        return struct.pack("<BH", number, len(value)) + value

    about = tag(2, b"4711\x00") + tag(4, struct.pack("<HB", 63, 1)) + tag(8, b"\x02")
    about += tag(25, struct.pack("<HBB", 2020, 2, 3)) + tag(26, bytes((10, 11, 12))) + tag(255, b"")
    leads = struct.pack("<BB", len(x), 0x04 | len(x) << 3 & 0xFF) + b"".join(
        struct.pack("<IIB", 1, n, codes[lead]) for lead in ecg.leads
    )
    data = (
        struct.pack("<HHBB", 2500, round(1e6 / ecg.rate), 0, 0)
        + struct.pack(f"<{len(x)}H", *[2 * n] * len(x))
        + x.tobytes()
    )
    parts = {1: section(1, about), 3: section(3, leads), 6: section(6, data)}
    at = 7 + 16 + 10 * 4
    pointers = struct.pack("<HII", 0, 16 + 10 * 4, 7)
    for number, part in parts.items():
        pointers += struct.pack("<HII", number, len(part), at)
        at += len(part)
    whole = section(0, pointers) + b"".join(parts.values())
    body = struct.pack("<I", 6 + len(whole)) + whole
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(body, 0xFFFF)) + body)
    return path


def ishne(ecg: ECG, path: Path) -> Path:
    """ISHNE Holter 1.0: a header of 522 bytes, samples in turn; 1 uV a step."""
    codes = {"I": 5, "II": 6, "III": 7, "aVR": 8, "aVL": 9, "aVF": 10} | {f"V{k}": k + 10 for k in range(1, 7)}
    x = steps(ecg, 1.0)
    head = bytearray(512)
    struct.pack_into("<iiiih", head, 0, 0, x.shape[1], 522, 522, 1)
    head[18:58], head[98:118] = b"Jane".ljust(40, b"\0"), b"4711".ljust(20, b"\0")
    struct.pack_into("<hhhhhhhhhhh", head, 118, 2, 0, 1, 1, 1957, 3, 2, 2020, 3, 2, 2020)
    struct.pack_into("<hhh", head, 140, 10, 11, 12)
    struct.pack_into("<h", head, 146, len(x))
    struct.pack_into("<12h", head, 148, *[codes[lead] for lead in ecg.leads])
    struct.pack_into("<12h", head, 172, *[1] * 12)
    struct.pack_into("<12h", head, 196, *[1000] * 12)
    struct.pack_into("<h", head, 220, 0)
    struct.pack_into("<h", head, 262, round(ecg.rate))
    path.write_bytes(
        b"ISHNE1.0" + struct.pack("<H", binascii.crc_hqx(bytes(head), 0xFFFF)) + bytes(head) + x.T.tobytes()
    )
    return path


def edf(ecg: ECG, path: Path) -> Path:
    """EDF+ by pyedflib, one-second records."""
    import pyedflib

    with pyedflib.EdfWriter(str(path), len(ecg.leads), file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        writer.setSex("Female")
        writer.setPatientCode("4711")
        for k, lead in enumerate(ecg.leads):
            writer.setSignalHeader(
                k,
                {
                    "label": f"ECG {lead}",
                    "dimension": "uV",
                    "sample_frequency": ecg.rate,
                    "physical_max": 8000,
                    "physical_min": -8000,
                    "digital_max": 32767,
                    "digital_min": -32768,
                    "transducer": "",
                    "prefilter": "",
                },
            )
        writer.writeSamples([1000 * row.astype(np.float64) for row in ecg.signal])
    return path
