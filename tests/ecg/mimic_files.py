"""MIMIC-IV-ECG in its exact layout, in the folders that `wget -r` makes: five patients who have
every quirk of the data set."""

import gzip
from pathlib import Path

import numpy as np

from .wfdb_files import MIMIC, heart, write

REPORTS = [f"report_{k}" for k in range(18)]
MEASURED = ["rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis"]
USUAL = (800, 40, 150, 200, 290, 600, 50, 30, 40)
NORMAL = ("Sinus rhythm", "Normal ECG")

# subject, study, time, heart rate, report lines by column, measurements
STUDIES = [
    (10000032, 40689238, "2180-07-23 08:44:00", 75,
     {0: "Sinus rhythm", 2: "Left atrial abnormality", 5: "Borderline ECG"}, USUAL),
    (10000032, 44458630, "2180-07-23 09:54:00", 120,
     {0: "Sinus tachycardia.", 1: "Normal ECG except for rate"}, (500, *USUAL[1:])),
    (10000032, 49036311, "2182-08-06 09:07:00", 75, {0: "Sinus rhythm", 1: "Normal ECG"}, (1200, *USUAL[1:])),
    (10001217, 41000001, "2157-11-18 14:08:00", 60, {0: "Atrial fibrillation with rapid ventricular response"},
     (29999, 29999, 32767, *USUAL[3:])),
    (10001217, 41000002, "2157-11-19 14:08:00", 66, {0: "Sinus rhythm"}, USUAL),
    (10001725, 42000001, "2110-04-11 10:00:00", 70, {0: "Sinus rhythm"}, (*USUAL[:6], 32767, -32768, 65535)),
    (10001725, 42000002, "2114-04-11 10:00:00", 70, {0: "Sinus bradycardia"}, (0, *USUAL[1:])),
    (10002013, 43000001, "2160-01-01 00:00:00", 80, {0: "Sinus rhythm"}, USUAL),
    (10002013, 43000002, "2160-02-01 00:00:00", 80, {0: "Sinus rhythm"}, USUAL),
    (10002013, 43000003, "2160-03-01 00:00:00", 80, {0: "Sinus rhythm"}, USUAL),
    (10002155, 44000001, "not a time", 90, {}, USUAL),
    (10002155, 44000002, "2129-08-05 11:00:00", 90,
     {0: "R\ufffdck | sinus  rhythm", 3: "Some unheard-of finding"}, USUAL),
    (10002155, 44000003, "2129-08-06 11:00:00", 90, {0: "Sinus rhythm"}, USUAL),
]  # fmt: skip
ABSENT, TRUNCATED, ZERO, GAP, LONG_GAP, SWAPPED, MICROVOLTS = (
    43000002, 43000003, 42000001, 41000001, 41000002, 44000002, 44000003
)  # fmt: skip


def stem(subject: int, study: int) -> str:
    return f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"


def make(folder: Path) -> Path:
    """Write everything under `folder`; returns the folder of MIMIC-IV-ECG itself."""
    root = folder / "physionet.org" / "files" / "mimic-iv-ecg" / "1.0"
    root.mkdir(parents=True)
    listed = ["subject_id,study_id,file_name,ecg_time,path"]
    measured = [
        ",".join(["subject_id", "study_id", "cart_id", "ecg_time", *REPORTS, "bandwidth", "filtering", *MEASURED])
    ]
    for subject, study, time, bpm, lines, values in STUDIES:
        listed.append(f"{subject},{study},{study},{time},{stem(subject, study)}")
        texts = [f'"{lines[k]}"' if k in lines else "" for k in range(18)]
        measured.append(
            ",".join(
                [str(subject), str(study), "6848296", time, *texts, "0.005-150 Hz", "60 Hz notch", *map(str, values)]
            )
        )
        if study != ABSENT:
            write(
                root / stem(subject, study),
                spoiled(study, bpm),
                gain=1.0 if study == MICROVOLTS else 200.0,
                order=MIMIC,
                names={"aVF": "aVL", "aVL": "aVF"} if study == SWAPPED else None,
            )
    data = root / f"{stem(10002013, TRUNCATED)}.dat"
    data.write_bytes(data.read_bytes()[:50_000])
    listed.append(listed[1])  # a study that is listed twice
    (root / "record_list.csv").write_text("\n".join(listed) + "\n", encoding="utf-8")
    measured.append(measured.pop(1))  # the two tables need not have the same order
    (root / "machine_measurements.csv").write_text("\n".join(measured) + "\n", encoding="utf-8")
    hosp = folder / "physionet.org" / "files" / "mimiciv" / "2.2" / "hosp"
    hosp.mkdir(parents=True)
    people = [
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        "10000032,F,52,2180,2014 - 2016,2180-09-09",
    ]
    people += ["10001217,M,91,2157,2011 - 2013,", "10001725,F,88,2110,2011 - 2013,", "10002013,,57,2156,2008 - 2010,"]
    with gzip.open(hosp / "patients.csv.gz", "wt") as file:
        file.write("\n".join(people) + "\n")
    return root


def spoiled(study: int, bpm: float) -> dict[str, np.ndarray]:
    """An ECG with the fault of its study."""
    leads = heart(study, bpm=bpm)
    if study == ZERO:
        leads["V3"][:] = 0
    if study == GAP:
        leads["V2"][1000:1040] = np.nan
    if study == LONG_GAP:
        leads["V5"][2000:3000] = np.nan
    if study == MICROVOLTS:
        leads = {name: x * 1000 for name, x in leads.items()}
    return leads
