import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecgtwin.ecg.leads import INDEPENDENT, LEADS
from ecgtwin.ecg.record import ECG


def ecg(rate=500.0, **more):
    x = np.random.default_rng(0).standard_normal((8, 1000)).astype(np.float32) * 0.5
    return ECG(x, rate, INDEPENDENT, **more).twelve()


@pytest.mark.parametrize("ending", ["hea", "csv", "npz"])
@pytest.mark.parametrize("rate", [100.0, 102.4, 500.0])
def test_what_is_written_is_read_again(tmp_path, ending, rate):
    one = ecg(
        rate, sex="female", age=63.0, patient="p 7", reports=("atrial fibrillation", "low QRS voltage"), synthetic=True
    )
    two = ECG.read(one.write(tmp_path / f"a.{ending}"))
    assert np.abs(two.signal - one.signal).max() <= 0.5e-3 + 1e-6
    assert two.rate == pytest.approx(rate) and two.leads == one.leads
    for name in ("sex", "age", "patient", "reports", "synthetic"):
        assert getattr(two, name) == getattr(one, name), name
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_wfdb_has_an_explicit_gain_and_keeps_einthoven_within_a_step(tmp_path):
    path = ecg(synthetic=True).write(tmp_path / "a.hea")
    header = wfdb.rdheader(str(path.with_suffix("")))
    assert header.adc_gain == [1000.0] * 12 and header.units == ["mV"] * 12 and header.fmt == ["16"] * 12
    assert any("research use only" in c for c in header.comments)
    x = ECG.read(path).signal.astype(float)
    assert np.abs(x[2] - (x[1] - x[0])).max() <= 1.5e-3
    large = ECG(50 * ecg().signal, 500, LEADS)
    np.testing.assert_allclose(ECG.read(large.write(tmp_path / "b.hea")).signal, large.signal, atol=5e-3)


@settings(max_examples=25, deadline=None)
@given(arrays(np.float32, (2, 30), elements=st.floats(-30, 30, width=32)))
def test_wfdb_round_trip_within_one_step(tmp_path_factory, x):
    path = tmp_path_factory.mktemp("w") / "a.hea"
    step = max(1e-3, float(np.abs(x).max()) / 32_000)
    assert np.abs(ECG.read(ECG(x, 250, ("I", "V1")).write(path)).signal - x).max() <= step


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([".csv", ".npz", ".hea"]), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_bytes_are_refused_with_a_plain_error(tmp_path_factory, ending, content):
    path = tmp_path_factory.mktemp("r") / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        ECG.read(path)


def test_units(tmp_path):
    x = ecg()
    rows = "\n".join(",".join(f"{v * 1000:.1f}" for v in row) for row in x.signal.T)
    path = tmp_path / "a.csv"
    path.write_text("# rate: 500\n# units: uV\n" + ",".join(LEADS) + "\n" + rows)
    np.testing.assert_allclose(ECG.read(path).signal, x.signal, atol=1e-3)
    path.write_text("# rate: 500\n" + ",".join(f"{n} (uV)" for n in LEADS) + "\n" + rows)
    np.testing.assert_allclose(ECG.read(path).signal, x.signal, atol=1e-3)
    path.write_text("# rate: 500\n# units: mV\n" + ",".join(LEADS) + "\n" + rows)
    with pytest.raises(ValueError, match="no heart makes that. If they are microvolts, give units uV"):
        ECG.read(path)
    np.testing.assert_allclose(ECG.read(path, units="uV").signal, x.signal, atol=1e-3)
    with pytest.raises(ValueError, match="expected mV, uV or V"):
        ECG.read(path, units="furlongs")


def test_a_time_column_gives_the_rate(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,I,II\n" + "\n".join(f"{k / 250:.4f},{k % 7 / 7},{k % 5 / 5}" for k in range(500)))
    assert ECG.read(path).rate == 250 and ECG.read(path).leads == ("I", "II")
    path.write_text("time_ms;I;II\n" + "\n".join(f"{k * 4};0.1;{k % 5 / 5}" for k in range(500)))
    assert ECG.read(path).rate == 250


@pytest.mark.parametrize("rate", [102.4, 250.0, 360.0, 499.5])
def test_rounded_times_give_the_rate_of_the_whole(tmp_path, rate):
    path = tmp_path / "a.csv"
    path.write_text("time,I\n" + "\n".join(f"{k / rate:.3f},{k % 7 / 7}" for k in range(3000)))
    assert ECG.read(path).rate == pytest.approx(rate, rel=1e-4)


def test_times_that_cannot_be_right(tmp_path):
    path = tmp_path / "a.csv"
    for times, message in (
        ([k / 500 if k < 300 else k / 500 + 1.5 for k in range(600)], "not even, most of all near 0.598 s"),
        ([2 * k for k in range(600)], "call the column time_ms"),
        ([-k / 500 for k in range(600)], "does not rise"),
        ([float("nan")] * 600, "does not rise"),
    ):
        path.write_text("time,I\n" + "\n".join(f"{t:.4f},{k % 7 / 7}" for k, t in enumerate(times)))
        with pytest.raises(ValueError, match=message):
            ECG.read(path)
        assert ECG.read(path, rate=500).rate == 500


def test_decimal_commas(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time;I;II\n" + "\n".join(f"{k / 250:.4f};0,25;{k % 5 / 5}".replace(".", ",") for k in range(500)))
    one = ECG.read(path)
    assert (
        one.rate == 250
        and one.leads == ("I", "II")
        and one.signal[0, 0] == 0.25
        and one.signal[1, 3] == np.float32(0.6)
    )


def test_leads_can_be_named_over_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,a,b\n" + "\n".join(f"{k / 250:.4f},0.1,0.2" for k in range(500)))
    assert ECG.read(path, leads=("V5", "II")).leads == ("V5", "II")
    with pytest.raises(ValueError, match="names 3 columns, the file has 2"):
        ECG.read(path, leads=("V5", "II", "I"))


@pytest.mark.parametrize("ending", ["csv", "npz", "hea"])
def test_an_artefact_of_34_mv_is_read_again(tmp_path, ending):
    x = ecg().signal.copy()
    x[3, 100:103] = 34.0
    path = ECG(x, 500, LEADS).write(tmp_path / f"a.{ending}")
    np.testing.assert_allclose(ECG.read(path).signal, x, atol=1.1e-3)


def test_declared_units_are_believed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# rate: 100\nI\n" + "\n".join(f"{50 * (-1) ** k}" for k in range(500)))
    assert ECG.read(path, units="mV").signal.max() == 50


@pytest.mark.parametrize("ending", ["hea", "csv", "npz"])
def test_letters_that_are_not_ascii_and_notes_are_kept(tmp_path, ending):
    one = ecg(reports=("Überleitung: gestört", "förmaksflimmer"), notes=("10 s from 4 s of 20.0 s were used",))
    two = ECG.read(one.write(tmp_path / f"a.{ending}"))
    assert two.reports == one.reports and two.notes == one.notes


@pytest.mark.parametrize("ending", ["hea", "csv", "npz"])
def test_nothing_to_write(tmp_path, ending):
    with pytest.raises(ValueError, match="no samples"):
        ECG(np.zeros((1, 0)), 100, ("I",)).write(tmp_path / f"a.{ending}")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_a_record(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        ECG.read(tmp_path)
    with pytest.raises(ValueError, match="is a folder"):
        ECG.read("")


@settings(max_examples=100, deadline=None)
@given(st.text("0123456789/.:+()x-# mVuIiaR\n", max_size=150), st.binary(max_size=60))
def test_headers_with_anything_in_them(tmp_path_factory, lines, samples):
    folder = tmp_path_factory.mktemp("h")
    (folder / "a.hea").write_text(f"a 1 100 20\na.dat {lines}")
    (folder / "a.dat").write_bytes(samples)
    try:
        assert ECG.read(folder / "a").rate > 0
    except (ValueError, OSError):
        pass


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "time",
                "I",
                "II (uV)",
                "v1",
                "aVR_mV",
                "x",
                "",
                "# rate: 100",
                "# age: 5",
                "\n",
                ",",
                ";",
                "0.1",
                "-2",
                "nan",
                "1e400",
                "0,5",
            ]
        ),
        max_size=40,
    )
)
def test_tables_with_anything_in_them(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("t") / "a.csv"
    path.write_text("".join(parts))
    try:
        assert ECG.read(path).rate > 0
    except (ValueError, OSError):
        pass


def test_columns_without_names_are_refused_unless_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n".join("0.1,0.2" for _ in range(100)))
    with pytest.raises(ValueError, match="2 columns without names"):
        ECG.read(path, rate=100)
    assert ECG.read(path, rate=100, leads=("II", "V5")).leads == ("II", "V5")
    with pytest.raises(ValueError, match="no sampling rate"):
        ECG.read(path, leads=("II", "V5"))
    np.save(tmp_path / "a.npy", np.zeros((12, 1000)))
    with pytest.raises(ValueError, match="arrays without names are refused"):
        ECG.read(tmp_path / "a.npy")


def test_a_truncated_data_file_says_how_many_bytes(tmp_path):
    path = ecg().write(tmp_path / "a.hea")
    data = path.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated: 23900 bytes, 24000 bytes expected"):
        ECG.read(path)
    data.unlink()
    with pytest.raises(FileNotFoundError, match="a.dat"):
        ECG.read(path)


def test_a_missing_record_names_its_neighbours(tmp_path):
    ecg().write(tmp_path / "patient_1.hea")
    with pytest.raises(FileNotFoundError, match="patient_1.hea"):
        ECG.read(tmp_path / "patient_2")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ECG.read(tmp_path / "nowhere" / "x.hea")


def test_a_failed_write_leaves_the_old_record(tmp_path):
    path = ecg().write(tmp_path / "a.hea")
    before = path.with_suffix(".dat").read_bytes()
    with pytest.raises(ValueError, match="not finite"):
        ECG(np.full((1, 10), np.nan), 100, ("I",)).write(path)
    assert path.with_suffix(".dat").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dat", "a.hea"]


def test_a_npz_that_lacks_something(tmp_path):
    np.savez(tmp_path / "a.npz", signal=np.zeros((2, 10)))
    with pytest.raises(ValueError, match="lacks rate, leads"):
        ECG.read(tmp_path / "a.npz")
    for bad in (
        {"rate": [1, 2]},
        {"rate": "fast"},
        {"signal": np.zeros((1, 9), complex)},
        {"signal": np.zeros((1, 9), "U3")},
    ):
        np.savez(tmp_path / "c.npz", **{"signal": np.zeros((1, 9)), "rate": 100, "leads": ["I"]} | bad)
        with pytest.raises(ValueError, match="c.npz"):
            ECG.read(tmp_path / "c.npz")
    np.savez(tmp_path / "b.npz", signal=np.array([{}], object), rate=1, leads=["I"])
    with pytest.raises(ValueError, match="not a readable NPZ"):
        ECG.read(tmp_path / "b.npz")


def test_real_records_of_three_data_sets(shared_data):
    challenge = ECG.read(shared_data / "challenge2021" / "JS20000")
    assert challenge.leads == LEADS and challenge.rate == 500 and challenge.sex == "female" and challenge.age == 84
    assert "snomed:427084000" in challenge.reports
    ptb = ECG.read(shared_data / "ptbdb" / "patient001" / "s0010_re.hea")
    assert ptb.leads == LEADS and ptb.rate == 1000 and ptb.age == 81 and "vx" in ptb.notes[0]
    low = ECG.read(next((shared_data / "ptbxl" / "records100").glob("*/*.hea")))
    assert low.leads == LEADS and low.rate == 100 and np.abs(low.signal).max() < 20


@pytest.mark.parametrize("formats", [["16"] * 4, ["212"] * 4, ["80"] * 4, ["24"] * 4, ["32"] * 4])
def test_every_format_is_read_as_by_wfdb(tmp_path, formats):
    digital = np.random.default_rng(1).integers(-120, 120, (500, 4))
    gains, baselines = [200.0, 17.5, 1000.0, 0.5], [0, 3, -20, 7]
    wfdb.wrsamp(
        "r",
        fs=360,
        units=["mV", "mV", "uV", "mV"],
        sig_name=["V1", "ecg_x", "II", "avf"],
        d_signal=digital,
        fmt=formats,
        adc_gain=gains,
        baseline=baselines,
        write_dir=str(tmp_path),
    )
    oracle, found = wfdb.rdrecord(str(tmp_path / "r")), ECG.read(tmp_path / "r.hea")
    assert (
        found.rate == oracle.fs and found.leads == ("V1", "II", "aVF") and found.notes == ("channels left out: ecg_x",)
    )
    np.testing.assert_allclose(found.signal.T, oracle.p_signal[:, [0, 2, 3]] * [1, 1e-3, 1], rtol=1e-6)


def test_a_record_in_two_files_with_missing_samples_and_no_length(tmp_path):
    first, second = np.arange(60, dtype="<i2").reshape(20, 3), np.full((20, 1), 7, "<i2")
    first[4, 1] = -32768
    (tmp_path / "a.dat").write_bytes(b"12345678" + first.tobytes())
    (tmp_path / "b.dat").write_bytes(second.tobytes())
    lines = [
        "r 4 100",
        *(f"a.dat 16+8 10(5)/mV 16 0 0 0 0 {lead}" for lead in ("I", "II", "V1")),
        "b.dat 16 0/mV 16 0 0 0 0 V2",
    ]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    found = ECG.read(tmp_path / "r")
    assert found.leads == ("I", "II", "V1", "V2") and np.isnan(found.signal[1, 4]) and np.isnan(found.signal).sum() == 1
    np.testing.assert_allclose(found.signal[0], (first[:, 0] - 5.0) / 10, rtol=1e-6)
    np.testing.assert_allclose(found.signal[3], 7 / 200, rtol=1e-6)  # a gain of 0 means 200
    (tmp_path / "b.dat").write_bytes(second.tobytes()[:-2])
    with pytest.raises(ValueError, match="different lengths"):
        ECG.read(tmp_path / "r")


def test_real_records_are_read_as_by_wfdb(shared_data):
    paths = [*sorted((shared_data / "ptbxl" / "records500").rglob("*.hea"))[:6], *shared_data.rglob("JS2000?.hea")]
    paths += sorted((shared_data / "ptbxl" / "records100").rglob("*.hea"))[:6] + list(
        (shared_data / "ptbdb").rglob("*.hea")
    )
    assert paths
    for path in paths:
        oracle, found = wfdb.rdrecord(str(path.with_suffix(""))), ECG.read(path)
        rows = [[name.lower() for name in oracle.sig_name].index(lead.lower()) for lead in found.leads]
        assert found.rate == oracle.fs
        np.testing.assert_allclose(found.signal.T, oracle.p_signal[:, rows], atol=1e-6, err_msg=str(path.name))


def counts(path, gain=204.8, header="", leads=LEADS):
    """A table of a converter's counts, as many exports are."""
    x = ecg()
    rows = "\n".join(",".join(f"{v * gain:.0f}" for v in row) for row in x.signal.T)
    path.write_text(f"# rate: 500\n{header}" + ",".join(leads) + "\n" + rows)
    return x


def test_counts_of_a_converter_need_its_gain(tmp_path):
    path = tmp_path / "a.csv"
    x = counts(path)
    with pytest.raises(ValueError, match="counts of a converter, give its gain") as caught:
        ECG.read(path)
    assert caught.value.options == ("units", "gain")
    found = ECG.read(path, gain=204.8)
    np.testing.assert_allclose(found.signal, x.signal, atol=3e-3)
    assert found.notes == ("204.8 steps of the converter are 1 mV, as given",)
    with pytest.raises(ValueError, match="both given"):
        ECG.read(path, gain=204.8, units="uV")
    for bad in (0, -1, float("nan"), float("inf"), "200"):
        with pytest.raises(ValueError, match="steps per mV"):
            ECG.read(path, gain=bad)
    counts(path, header="# units: ADU\n")
    with pytest.raises(ValueError, match="'ADU' is a converter's step: give its gain") as caught:
        ECG.read(path)
    assert caught.value.options == ("gain",)
    counts(path, header="# gain: 204.8 per mV\n# units: ADU\n")
    np.testing.assert_allclose(ECG.read(path).signal, x.signal, atol=3e-3)
    with pytest.raises(ValueError, match="only units can be given"):
        ECG.read(ecg().write(tmp_path / "w.hea"), gain=200)


def test_what_is_missing_is_named_for_any_caller(tmp_path):
    path = tmp_path / "a.csv"
    for text, options, more in (
        ("I,II\n0.1,0.2\n0.2,0.1", ("rate",), {}),
        ("# rate: 9\n0.1,0.2\n0.2,0.1", ("leads",), {}),
        ("# rate: 9\na,b\n0.1,0.2", ("leads",), {}),
        ("# rate: 9\nI,II\n0.1,0.2", ("units",), {"units": "furlongs"}),
    ):
        path.write_text(text)
        with pytest.raises(ValueError) as caught:
            ECG.read(path, **more)
        assert caught.value.options == options and "=" not in str(caught.value)


def test_what_is_assumed_is_told_once(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,I,II\n" + "\n".join(f"{k / 250:.4f},{k % 7 / 7},{k % 5 / 5}" for k in range(500)))
    one = ECG.read(path)
    assert one.notes == ("rate 250 Hz from the time column", "no unit is given: mV assumed")
    assert ECG.read(one.write(tmp_path / "b.csv")).notes == one.notes


@pytest.mark.parametrize("rate", ["inf", "1e400", "1e308", "-1e308", "nan", "1e9"])
def test_rates_that_overflow_are_refused(tmp_path, rate):
    path = tmp_path / "a.csv"
    path.write_text(f"# rate: {rate}\nI\n" + "\n".join(f"{k % 5 / 5}" for k in range(50)))
    with pytest.raises(ValueError, match="rate"):
        ECG.read(path)
    np.savez(tmp_path / "a.npz", signal=np.random.randn(1, 50), rate=float(rate), leads=["I"])
    with pytest.raises(ValueError, match="rate"):
        ECG.read(tmp_path / "a.npz")


@settings(max_examples=80, deadline=None)
@given(
    st.floats() | st.integers(-(2**70), 2**70) | st.sampled_from([0.1, 49.9, 1e6]),
    st.floats(min_value=1e-3, max_value=1e300),
    st.integers(0, 60),
)
def test_any_rate_is_refused_or_usable(rate, seconds, samples):
    from ecgtwin.ecg.quality import prepare

    x = np.random.default_rng(0).standard_normal((8, samples))
    with pytest.raises(ValueError):  # too few samples for any rate at which hearts are recorded
        prepare(ECG(x, rate, INDEPENDENT), seconds=max(seconds, 61 / 50))


LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", f"# rate: {LONG}\nI\n0.1\n0.2"),
        ("a.csv", f"# rate: 9\n# units: {LONG}\nI\n0.1\n0.2"),
        ("a.csv", f"# rate: 9\n{LONG}\n0.1\n0.2"),
        ("a.csv", "# rate: 9\n" + ",".join(f"{LONG[:5000]}{k}" for k in range(90)) + "\n" + ",".join("1" * 90)),
        ("a.csv", f"# rate: 9\nI\n0.1\n{LONG}"),
        ("a.hea", f"{LONG} {LONG}\n"),
        ("a.hea", f"a 1 100 20\n{LONG}\n"),
    ],
)
def test_messages_are_short(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError) as caught:
        ECG.read(tmp_path / name)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["signal", "rate", "leads", "units", "gain", "comments", "x"]),
        arrays(np.float64, st.tuples(st.integers(0, 3), st.integers(0, 4)) | st.just(()))
        | st.sampled_from(
            [100.0, 2**80, "mV", "I", ["I", "II"], [["I"]], "", np.array(["age: 5"]), np.datetime64("2020")]
        ),
    )
)
def test_archives_with_anything_in_them(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("z") / "a.npz"
    try:
        np.savez(path, **content)
        assert ECG.read(path).rate > 0
    except (ValueError, OSError):
        pass
