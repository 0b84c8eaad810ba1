"""A blinded reading: nothing tells the sheets apart, the key is elsewhere, and scores are right."""

import csv

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from ecgtwin.cli import app
from ecgtwin.ecg.simulate import Person, simulate
from ecgtwin.evaluation.reader_pack import FINDINGS, proportion, said, same, score, write_pack


def ecgs(n, rate, synthetic, first):
    from dataclasses import replace

    states = ("sinus rhythm", "atrial fibrillation")
    found = [simulate(Person.draw(first + k), states[k % 2], seed=k).resample(rate) for k in range(n)]
    return [
        replace(ecg, synthetic=synthetic, name=f"{'twin' if synthetic else 'real'} {k}", patient="patient 99")
        for k, ecg in enumerate(found)
    ]


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    rows = write_pack(ecgs(4, 500, False, 60), ecgs(3, 102.4, True, 80), folder / "sheets", folder / "key", seed=3)
    return folder, rows


def test_sheets_tell_nothing_and_the_key_is_elsewhere(pack):
    folder, rows = pack
    names = sorted(p.name for p in (folder / "sheets").iterdir())
    assert names == ["README.md", "form.csv", *(f"sheet_{k:03d}.png" for k in range(1, 8))]
    assert sorted(p.name for p in (folder / "key").iterdir()) == ["key.csv"]
    assert sum(row["real_or_synthetic"] == "s" for row in rows) == 3
    assert [row["real_or_synthetic"] for row in rows] != sorted(row["real_or_synthetic"] for row in rows)
    for path in (folder / "sheets").iterdir():
        content = path.read_bytes()
        assert not any(word in content for word in (b"twin 0", b"twin 2", b"patient 99", b"SYNTHETIC", b"real 0"))
    pictures = [imread(folder / "sheets" / f"sheet_{k:03d}.png") for k in range(1, 8)]
    assert all(p.shape[1] == pictures[0].shape[1] for p in pictures)
    assert {
        tuple(np.unique(np.round(p[..., :3].reshape(-1, 3)[::997], 1), axis=0).ravel()[:3]) for p in pictures
    }  # drawn


def test_what_a_twin_was_not_asked_for_is_not_said_to_be_missing():
    block = ("sinus rhythm", "complete right bundle branch block")
    told = {name: said(name, block, asked=True) for name in FINDINGS}
    assert told["right bundle branch block"] == "y" and told["atrial fibrillation"] == told["normal"] == "n"
    assert told["infarction"] == told["ST or T changes"] == ""  # the reference may have had them
    assert said("infarction", block) == said("infarction", ("normal ECG",), asked=True) == "n"
    assert said("infarction", ()) == ""


def test_rate_and_step_are_the_same(pack):
    a, b = same(ecgs(1, 500, False, 60)[0], 102.4), same(ecgs(1, 102.4, True, 80)[0], 102.4)
    assert a.rate == b.rate == 102.4 and a.signal.shape == b.signal.shape and not a.synthetic and not b.synthetic
    for x in (a, b):
        eight = x.select(("I", "II", "V1", "V6")).signal.astype(float) * 200
        assert np.abs(eight - np.round(eight)).max() < 1e-3


def filled(folder, name, rows, right):
    """A form of which the first `right` sheets are answered right."""
    path = folder / f"form_{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sheet", "real_or_synthetic", "sure_1_to_5", "atrial fibrillation"])
        for k, row in enumerate(rows):
            truth = row["real_or_synthetic"]
            writer.writerow(
                [f"{row['sheet']:03d}", truth if k < right else "rs".replace(truth, ""), 3, row["atrial fibrillation"]]
            )
    return path


def test_scores(pack, tmp_path):
    folder, rows = pack
    forms = [filled(tmp_path, "ann", rows, 7), filled(tmp_path, "bob", rows, 4)]
    found = score(folder / "key" / "key.csv", forms)
    assert found["readers"]["ann"]["accuracy"]["value"] == 1 and found["readers"]["bob"]["accuracy"]["right"] == 4
    assert found["together"]["accuracy"]["right"] == 11 and found["together"]["accuracy"]["n"] == 14
    assert found["findings"]["atrial fibrillation"]["value"] == 1 and found["readers"]["ann"]["p_guessing"] < 0.02
    result = CliRunner().invoke(app, ["reader-score", str(folder / "key"), *map(str, forms)])
    assert result.exit_code == 0 and "ann" in result.output and "11 of 14" in result.output


def test_wilson_s_interval():
    one = proportion(15, 20)  # by hand: (0.75 + 0.096 -+ 0.2045) / 1.192
    assert one["low"] == pytest.approx(0.5313, abs=2e-4) and one["high"] == pytest.approx(0.8881, abs=2e-4)
    assert proportion(0, 5)["low"] == 0 and proportion(0, 0)["value"] is None


def test_mistakes_are_said(pack, tmp_path):
    folder, rows = pack
    with pytest.raises(ValueError, match="some of each"):
        write_pack([], ecgs(1, 102.4, True, 80), tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match="apart"):
        write_pack(ecgs(1, 500, False, 60), ecgs(1, 102.4, True, 80), tmp_path / "a", tmp_path / "a" / "key")
    path = filled(tmp_path, "c", rows[:5], 5)
    with pytest.raises(ValueError, match="not in it"):
        score(folder / "key" / "key.csv", [path])
    path.write_text("sheet,real_or_synthetic\n" + "\n".join(f"{k},maybe" for k in range(1, 8)))
    with pytest.raises(ValueError, match="expected r or s"):
        score(folder / "key" / "key.csv", [path])
    made = ecgs(1, 102.4, True, 80)[0].write(tmp_path / "t.hea")
    result = CliRunner().invoke(
        app, ["reader-pack", "--real", str(made), "--synthetic", str(made), "--output", str(tmp_path / "o")]
    )
    assert result.exit_code == 2 and "marked synthetic" in result.output
