"""A PTB-XL folder of simulated people, in the native layout, for tests of everything that reads one."""

from pathlib import Path

import pandas as pd

from ecgtwin.ecg.simulate import Person, simulate

STATES = [("SR", "sinus rhythm"), ("AFIB", "atrial fibrillation")]


def write(folder: Path, patients: int = 12) -> Path:
    """Two ECGs of each patient: folds 1 and 2 train, every fourth patient is in fold 9."""
    rows = []
    (folder / "records100" / "00000").mkdir(parents=True)
    for patient in range(patients):
        person = Person.draw(patient)
        for visit, (code, state) in enumerate(STATES):
            number = 2 * patient + visit + 1
            name = f"records100/00000/{number:05d}_lr"
            simulate(person, state, 60.0 + 5 * patient, seed=number).resample(100.0).write(folder / f"{name}.hea")
            rows.append(
                {
                    "ecg_id": number,
                    "patient_id": float(patient),
                    "age": 300 if patient == 0 else person.age,
                    "sex": {"male": 0, "female": 1}[person.sex],
                    "recording_date": f"1990-01-{number:02d} 10:00:00",
                    "report": "",
                    "scp_codes": str({code: 0.0}),
                    "strat_fold": 9 if patient % 4 == 3 else 1 + visit,
                    "filename_lr": name,
                    "filename_hr": name.replace("100", "500", 1),
                }
            )
    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False)
    return folder
