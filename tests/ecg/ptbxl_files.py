"""A PTB-XL folder in its native layout, with the quirks of its table."""

from pathlib import Path

from .wfdb_files import heart, write

HEAD = (
    "ecg_id,patient_id,age,sex,height,weight,recording_date,report,scp_codes,heart_axis,baseline_drift,static_noise,"
    "burst_noise,electrodes_problems,extra_beats,pacemaker,strat_fold,filename_lr,filename_hr"
)


def make(folder: Path, n: int = 24, *, high: tuple[int, ...] = ()) -> Path:
    """n records at 100 Hz, two of each patient in one fold; `high`: ecg_ids that also have a
    500 Hz file, its end held."""
    rows = [HEAD]
    for k in range(1, n + 1):
        patient = (k + 1) // 2
        low, full = f"records100/00000/{k:05d}_lr", f"records500/00000/{k:05d}_hr"
        age, sex = {1: "300.0", 2: "", 3: "90.0"}.get(k, f"{30 + k}.0"), patient % 2
        codes = {5: "{'AFIB': 0.0, 'ABQRS': 35.0}", 6: "{}", 7: "__import__('os').abort()"}.get(
            k, "{'NORM': 100.0, 'SR': 0.0}"
        )
        report = {4: "sinusrhythmus qt-verlÄngerung", 8: "sinusrytm st-t sÄó¬ning", 9: ""}.get(
            k, "sinus rhythm. normal ecg."
        )
        drift, pacemaker = (', "I-V1,  "' if k == 10 else ","), ("ja, pacemaker" if k == 11 else "")
        drift = '", I-V1,  "' if k == 10 else ""
        rows.append(
            f"{k},{patient}.0,{age},{sex},,,1984-11-{1 + k % 28:02d} "
            f'09:17:34,{report},"{codes}",,{drift},,,,,"{pacemaker}",'
            f"{1 + patient % 10},{low},{full}"
        )
        leads = heart(k, bpm=55 + k, rate=500)
        write(folder / low, {name: x[::5] for name, x in leads.items()}, rate=100)
        if k in high:
            held = {name: x.copy() for name, x in leads.items()}
            for x in held.values():
                x[-50:] = x[-51]
            write(folder / full, held)
    (folder / "ptbxl_database.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
