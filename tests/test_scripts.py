"""Every script runs, as a user runs it: the three stages on simulated people, killed and resumed,
to a model that generates."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ecgtwin import Condition, ECGTwin
from ecgtwin.cli import train as options
from ecgtwin.ecg.beats import Beats
from ecgtwin.ecg.store import Store
from ecgtwin.text.table import StatementTable
from ecgtwin.train.checkpoint import load_tensors
from ecgtwin.train.device import accelerator_of
from ecgtwin.training.beat_stage import base_stage
from ecgtwin.training.denoiser import DenoiserStage
from ecgtwin.training.export import export
from ecgtwin.training.recipe import train

from .tiny_store import write_config, write_store
from .twin.tiny import STATEMENTS, Letters

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
STAGES = ("vae", "base", "denoiser")


def command(script, *arguments):
    return [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]


def run(script, *arguments, code=0, launcher=None):
    line = [*launcher, *command(script, *arguments)[1:]] if launcher else command(script, *arguments)
    result = subprocess.run(line, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert result.returncode == code, result.stderr[-3000:]
    return result


def rows(folder, figure="loss"):
    with (folder / "losses.csv").open() as file:
        return {int(r["step"]): float(r["value"]) for r in csv.DictReader(file) if r["figure"] == figure}


def stage(place, name, *more, output=None, store=None):
    """The arguments of one stage's script, on what the fixture trained before it."""
    needs = {"vae": (), "base": ("vae",), "denoiser": ("vae", "base")}[name]
    given = [
        "--store",
        store or place / "store",
        "--config",
        place / "tiny.yaml",
        "--output",
        output or place / "out" / name,
    ]
    given += [] if name == "vae" else ["--statements", place / "statements"]
    for need in needs:
        given += [f"--{need}", place / "out" / need / "weights.safetensors"]
    return [f"train_{name}.py", *given, "--cpu", *more]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The whole recipe, run once."""
    folder = tmp_path_factory.mktemp("train")
    write_store(folder / "store", people=40)
    write_config(folder / "tiny.yaml")
    StatementTable.build(STATEMENTS, Letters()).save(folder / "statements")
    began = time.monotonic()
    arguments = (
        folder / "tiny.yaml",
        folder / "store",
        folder / "out",
        "--statements",
        folder / "statements",
        "--least",
        1,
        "--cpu",
    )
    run("train_all.py", *arguments)
    (folder / "seconds").write_text(str(time.monotonic() - began))
    return folder


def test_the_whole_recipe_takes_less_than_three_minutes_and_ends_in_a_model_that_generates(place):
    assert float((place / "seconds").read_text()) < 180
    for name, figure in (("vae", "correlation"), ("base", "rank1"), ("denoiser", "held")):
        assert sorted(rows(place / "out" / name, figure)) == [2, 4]
    model = ECGTwin.from_pretrained(place / "out" / "model", device="cpu")
    reference = Store.open(place / "store").ecg(0)
    twins = model.generate(reference, Condition(model.statements[0], heart_rate=90), n=2, steps=2)
    assert len(twins) == 2 and twins[0].signal.shape == (12, 1024)
    facts = json.loads((place / "out" / "model" / "config.json").read_text())["facts"]
    assert set(facts["validation"]) == set(STAGES) and "simulated: " in facts["trained_on"]


def test_finished_stages_are_skipped_and_changed_ones_are_not(place):
    again = (
        place / "tiny.yaml",
        place / "store",
        place / "out",
        "--statements",
        place / "statements",
        "--least",
        1,
        "--cpu",
        "--json",
    )
    found = json.loads(run("train_all.py", *again).stdout)
    assert [found[name]["skipped"] for name in STAGES] == [True, True, True]
    before = (place / "out" / "denoiser" / "weights.safetensors").read_bytes()
    found = json.loads(run("train_all.py", *again, "--set", "train.denoiser.lr=0.002").stdout)
    assert [found[name]["skipped"] for name in STAGES] == [True, True, False]
    assert (place / "out" / "denoiser" / "weights.safetensors").read_bytes() != before
    found = json.loads(run("train_all.py", *again).stdout)
    assert [found[name]["skipped"] for name in STAGES] == [True, True, False]
    assert (place / "out" / "denoiser" / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", STAGES)
def test_killed_and_resumed_equals_uninterrupted(place, name, tmp_path):
    """kill -9 as soon as a step was logged that no checkpoint holds; then --resume. Losses are
    written at every validation."""
    slow = (
        "--set",
        f"train.{name}.steps=40",
        "--set",
        f"train.{name}.validate_every=10",
        "--set",
        f"train.{name}.save_every=6",
    )
    run(*stage(place, name, *slow, output=tmp_path / "whole"))
    part = tmp_path / "part"
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        command(*stage(place, name, *slow, output=part)), stdout=log, stderr=log, env=ENVIRONMENT
    )
    try:
        for _ in range(12000):
            if (part / "losses.csv").exists() and rows(part) and (part / "last.safetensors").exists():
                break
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    saved = load_tensors(part / "last.safetensors")[1]["step"]
    assert 6 <= saved < 40
    run(*stage(place, name, *slow, "--resume", output=part))
    assert rows(part) == rows(tmp_path / "whole") and sorted(rows(part)) == [10, 20, 30, 40]
    for kind in ("weights", "last"):
        a, b = (load_tensors(tmp_path / where / f"{kind}.safetensors") for where in ("whole", "part"))
        assert all((a[0][k] == b[0][k]).all() for k in a[0])


@pytest.mark.parametrize("name", STAGES)
def test_two_processes_equal_one(place, name, tmp_path):
    """The same losses step by step, by gloo, with the same global batch."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    one = place / "out" / name
    run(*stage(place, name, output=tmp_path / "two"), launcher=launcher)
    a, b = rows(one), rows(tmp_path / "two")
    assert a.keys() == b.keys() and len(a) == 2
    assert [b[k] for k in a] == pytest.approx([a[k] for k in a], rel=1e-4)
    figure = {"vae": "correlation", "base": "temperature", "denoiser": "held"}[name]
    for k, value in rows(one, figure).items():
        assert rows(tmp_path / "two", figure)[k] == pytest.approx(value, rel=1e-3)


def test_a_dry_run_says_what_is_needed_and_keeps_nothing(place, tmp_path):
    for name in STAGES:
        found = json.loads(run(*stage(place, name, "--dry-run", "--json", output=tmp_path / name)).stdout)
        assert found["parameters"] > 100 and found["minutes_per_epoch"] > 0 and found["batch"]
        assert not (tmp_path / name).exists()


def test_a_finished_run_is_not_overwritten(place):
    assert "--resume" in run(*stage(place, "vae"), code=2).stderr


def test_another_text_encoder_is_refused(place, tmp_path):
    class Other(Letters):
        name, fingerprint = "other", "1" * 64

    StatementTable.build(STATEMENTS, Other()).save(tmp_path / "other")
    arguments = stage(place, "denoiser", output=tmp_path / "denoiser")
    arguments[arguments.index("--statements") + 1] = tmp_path / "other"
    assert "encoder: 0000" in run(*arguments, code=2).stderr


def test_a_model_is_fine_tuned_on_other_data(place, tmp_path):
    """All three parts come from a model folder; what it knew stays known, and another start is not resumed."""
    model, store = place / "out" / "model", tmp_path / "mine"
    write_store(store, people=30, each=2)
    own = (
        "--store",
        store,
        "--config",
        place / "tiny.yaml",
        "--output",
        tmp_path / "denoiser",
        "--vae",
        model,
        "--base",
        model,
        "--cpu",
    )
    still = ("--set", "train.denoiser.lr=1.0e-12", "--set", "train.denoiser.weight_decay=0.0")
    run("train_denoiser.py", *own, "--statements", place / "statements", "--start", model, *still)
    assert (tmp_path / "denoiser" / "bank" / "bank.json").is_file() and not (model / "bank").exists()
    tuned = load_tensors(tmp_path / "denoiser" / "weights.safetensors")[0]
    began = ECGTwin.from_pretrained(model).parts.denoiser.state_dict()
    assert all((tuned[k] - v).abs().max() < 1e-6 for k, v in began.items())
    refused = run("train_denoiser.py", *own, "--statements", place / "statements", *still, "--resume", code=2)
    assert "start:" in refused.stderr
    given = (
        "--store",
        store,
        "--vae",
        model,
        "--base",
        model,
        "--denoiser",
        tmp_path / "denoiser" / "weights.safetensors",
    )
    run("export_model.py", *given, "--statements", place / "statements", "--least", 1, "--output", tmp_path / "model")
    before, after = (
        json.loads((folder / "config.json").read_text())["facts"] for folder in (model, tmp_path / "model")
    )
    assert before["statement_counts"].keys() <= after["statement_counts"].keys()
    assert (
        after["trained_on"].startswith(before["trained_on"] + "; ")
        and after["validation"]["vae"] == before["validation"]["vae"]
    )


def test_weights_of_another_shape_are_refused(place, tmp_path):
    wide = stage(
        place,
        "denoiser",
        "--start",
        place / "out" / "model",
        "--set",
        "model.denoiser.depth=2",
        output=tmp_path / "denoiser",
    )
    assert "do not fit" in run(*wide, code=2).stderr


def ready(place, more):
    """What the functions behind the scripts take."""
    settings = options.settings_of(place / "tiny.yaml", more, STAGES)
    weights = [place / "out" / name / "weights.safetensors" for name in ("vae", "base")]
    return (
        settings,
        options.recordings_of([place / "store"], settings),
        weights,
        StatementTable.load(place / "statements"),
    )


def test_the_bench_measures_every_stage(place):
    more = ("--store", place / "store", "--config", place / "tiny.yaml", "--statements", place / "statements")
    found = json.loads(run("bench_train.py", *more, "--steps", 2, "--cpu", "--json").stdout)
    for name in STAGES:
        assert (
            found[name]["samples_per_second"] > 0
            and 0 <= found[name]["waiting"] <= 1
            and 0 < found[name]["utilisation"] < 1.5
        )


def test_extractors_are_compared_and_probed(place):
    pytest.importorskip("sklearn")
    vae, base = (place / "out" / name / "weights.safetensors" for name in ("vae", "base"))
    more = (
        "--store",
        place / "store",
        "--config",
        place / "tiny.yaml",
        "--statements",
        place / "statements",
        "--vae",
        vae,
        "--base",
        base,
    )
    found = json.loads(run("probe_base.py", *more, "--cpu", "--json").stdout)
    assert set(found) == {"base", "median beat", "median beat, PCA(100) whitened"}
    assert 0 <= found["base"]["rank1_free"] <= 1
    assert all(name in found["base"] for name in ("female", "female_free", "atrial fibrillation", "eer"))


@pytest.mark.parametrize("network", ["dit", "unet"])
@pytest.mark.parametrize("inject", ["adax", "adaln", "cross"])
def test_every_ablation_trains(place, network, inject, tmp_path):
    """One key away each."""
    more = [f"model.denoiser.network={network}", f"model.denoiser.inject={inject}", "train.denoiser.steps=2"]
    more += [
        "train.denoiser.precision=bf16",
        "model.denoiser.unet={widths: [8, 16], attention: [1], blocks: 1, groups: 4}",
    ]
    settings, recordings, weights, table = ready(place, more)
    accelerator, folder = accelerator_of(cpu=True), tmp_path / "denoiser"
    figures = train(DenoiserStage.of(settings, recordings, *weights, table, folder, accelerator), folder, accelerator)
    assert figures["held"] > 0
    names = load_tensors(tmp_path / "denoiser" / "weights.safetensors")[0]
    assert any(k.startswith("unet." if network == "unet" else "dit.") for k in names)


def test_a_denoiser_with_drafts_goes_on_from_one_without(place, tmp_path):
    """To a model that is told when the beats come. No fitting here, which takes long: tests/training/test_drafts.py."""
    drafts = "{same: 0.5, rate: 0.0, real: 0.0, simulated: 0.5, constructed: 0.0, expected: 0.0, back: 0.0}"
    settings, recordings, weights, table = ready(
        place, ["model.denoiser.draft=true", f"train.denoiser.drafts={drafts}"]
    )
    few = np.concatenate(
        [np.unique(recordings.patient[recordings.places(split)])[:8] for split in ("train", "validation")]
    )
    recordings = recordings.where(np.isin(recordings.patient, few))
    accelerator, folder = accelerator_of(cpu=True), tmp_path / "denoiser"
    stage = DenoiserStage.of(settings, recordings, *weights, table, folder, accelerator, place / "out" / "model")
    figures = train(stage, folder, accelerator)
    assert (
        figures["held"] > 0 and figures["held_no_draft"] > 0 and (weights[0].parent / "drafts" / "bank.json").is_file()
    )
    export(recordings, table, *weights, folder / "weights.safetensors", tmp_path / "model", least=1)
    model = ECGTwin.from_pretrained(tmp_path / "model", device="cpu")
    beats = Beats(np.arange(0.5, 9.6, 0.8), np.zeros(12))
    (twin,) = model.generate(Store.open(place / "store").ecg(0), Condition(model.statements[0]), beats=beats, steps=2)
    assert np.isfinite(twin.signal).all() and model.config.denoiser.draft


@pytest.mark.parametrize("condition", ["add", "none"])
def test_every_extractor_trains(place, condition, tmp_path):
    more = [f"model.base.condition={condition}", "train.base.grad_accum=2", "train.base.precision=bf16"]
    settings, recordings, weights, table = ready(place, more)
    accelerator, folder = accelerator_of(cpu=True), tmp_path / "base"
    figures = train(base_stage(settings, recordings, weights[0], table, folder, accelerator), folder, accelerator)
    assert 0 <= figures["rank1"] <= 1 and rows(tmp_path / "base")


def test_curves_of_trainings_are_drawn(place, tmp_path):
    runs = [place / "out" / name for name in ("vae", "denoiser")]
    printed = run("plot_losses.py", *runs, "--figure", "loss", "--output", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000 and printed.stdout.startswith("vae: 2:")
    assert (
        "it has"
        in run(
            "plot_losses.py", place / "out" / "vae", "--figure", "magic", "--output", tmp_path / "b.png", code=2
        ).stderr
    )


def test_exact_counterfactuals_are_drawn(place, tmp_path):
    more = ("--model", place / "out" / "model", "--state", "complete left bundle branch block", "--guidance", 2.0)
    printed = run("plot_truth.py", *more, "--output", tmp_path / "truth.png").stdout
    assert printed.strip() == str(tmp_path / "truth.png") and (tmp_path / "truth.png").stat().st_size > 5000
    assert (
        "expected of" in run("plot_truth.py", *more, "--state", "magic", "--output", tmp_path / "b.png", code=2).stderr
    )
