"""A run's folder: what is in it, and that nothing in it is ever half or lost."""

import csv
import errno
import os
import signal

import pytest
import torch
from torch import nn

from ecgtwin.train import checkpoint
from ecgtwin.train.checkpoint import load_tensors
from ecgtwin.train.dry_run import dry_run, flops, summary
from ecgtwin.train.loop import Training
from ecgtwin.train.plan import Plan
from ecgtwin.train.run import STOPPED, Run, complete

from .test_loop import PLAN, Regression

INPUTS = {"data": "abc", "encoder": "one"}


def training(**more):
    torch.manual_seed(0)
    return Training(nn.Linear(3, 2), Plan(**PLAN | {"validate_every": 4} | more))


class Small:
    """A task as a stage of which only score and figure differ from test to test."""

    name, blocks, config, facts, epoch = "small", (), {"a": 1}, {}, 80

    def __init__(self, training, task=None, inputs=INPUTS, score=None, figure=None):
        self.network, self.plan, self.inputs = training.network, training.plan, inputs
        self.task = task or Regression()
        self.draw, self.load, self.backward, self.names = (
            self.task.draw,
            self.task.load,
            self.task.backward,
            self.task.names,
        )
        self.score, self.figure = score or (lambda figures: None), figure or (lambda network: None)

    def validate(self, network):
        return {"held": float(network.weight.norm())}

    def result(self, network):
        return network.state_dict()


def go(folder, *, resume=False, t=None, **options):
    t = t or training()
    return complete(Run(folder, resume), t, Small(t, **options))


def rows(folder, figure="loss"):
    with (folder / "losses.csv").open() as file:
        return {int(r["step"]): float(r["value"]) for r in csv.DictReader(file) if r["figure"] == figure}


class Interrupting(Regression):
    def __init__(self, step, act):
        super().__init__()
        self.step, self.act, self.seen = step, act, 0

    def losses(self, network, batch):
        self.seen += 1
        if self.seen == self.step:
            self.act()
        return super().losses(network, batch)


def interrupt():
    raise KeyboardInterrupt


def test_what_is_kept_are_the_averaged_weights(tmp_path):
    t = training()
    go(tmp_path, t=t)
    kept, _ = load_tensors(tmp_path / "weights.safetensors")
    assert all(torch.equal(kept[k], t.ema.shadow[k]) for k in kept)
    assert not torch.equal(kept["weight"], t.network.weight)


def test_a_run_leaves_checkpoint_weights_losses_and_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    figures = go(tmp_path)
    tensors, meta = load_tensors(tmp_path / "weights.safetensors")
    assert tensors.keys() == {"weight", "bias"} and meta["figures"] == figures and meta["inputs"] == INPUTS
    assert load_tensors(tmp_path / "last.safetensors")[1]["step"] == 12
    assert sorted(rows(tmp_path, "held")) == [4, 8, 12] and 10 in rows(tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("held")] == [4, 8, 12]


def test_pictures_reach_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from matplotlib.figure import Figure
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(tmp_path, figure=lambda network: Figure())
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.step for e in events.Images("example")] == [4, 8, 12]


def test_the_best_weights_are_kept_also_after_resuming(tmp_path):
    scores = iter([3.0, 5.0])

    def score(figures):
        return next(scores)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, task=Interrupting(10, interrupt), score=score)
    best = (tmp_path / "weights.safetensors").read_bytes()
    go(tmp_path, resume=True, score=lambda figures: 4.0)
    assert (tmp_path / "weights.safetensors").read_bytes() == best
    assert load_tensors(tmp_path / "last.safetensors")[1]["best"] == 5.0


def test_an_interrupted_run_goes_on_and_its_losses_have_no_step_twice(tmp_path):
    go(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "part", task=Interrupting(11, interrupt))
    assert max(rows(tmp_path / "part")) == 10
    assert load_tensors(tmp_path / "part" / "last.safetensors")[1]["step"] == 8
    with pytest.raises(FileExistsError, match="--resume"):
        go(tmp_path / "part")
    go(tmp_path / "part", resume=True)
    for figure in ("loss", "held"):
        assert rows(tmp_path / "part", figure) == rows(tmp_path / "whole", figure)
    names = [line.split(",")[:2] for line in (tmp_path / "part" / "losses.csv").read_text().splitlines()]
    assert len(names) == len({tuple(n) for n in names})
    files = [(tmp_path / n / "weights.safetensors").read_bytes() for n in ("whole", "part")]
    assert files[0] == files[1]


def test_sigterm_saves_and_says_how_to_go_on(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        go(tmp_path, task=Interrupting(6, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert stopped.value.code == STOPPED == 143
    assert load_tensors(tmp_path / "last.safetensors")[1]["step"] in (6, 7)
    assert "--resume" in capsys.readouterr().err
    go(tmp_path, resume=True)
    go(tmp_path.parent / "whole")
    assert (tmp_path / "weights.safetensors").read_bytes() == (
        tmp_path.parent / "whole" / "weights.safetensors"
    ).read_bytes()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    write, written = checkpoint.save_file, []

    def full(tensors, path, metadata):
        written.append(path)
        write(tensors, path, metadata=metadata)
        if "last" in str(path) and len([p for p in written if "last" in str(p)]) == 2:
            with open(path, "r+b") as file:
                file.truncate(100)  # what was written when the disk was full
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match=r"checkpoint of step 8 .*No space left.*that of step 4 is intact.*--resume"):
        go(tmp_path)
    monkeypatch.undo()
    assert load_tensors(tmp_path / "last.safetensors")[1]["step"] == 4
    assert not list(tmp_path.glob(".*part*"))
    go(tmp_path, resume=True)
    assert load_tensors(tmp_path / "last.safetensors")[1]["step"] == 12


def test_other_inputs_are_refused_by_name(tmp_path):
    go(tmp_path)
    with pytest.raises(ValueError, match=r"encoder: one in the checkpoint, two given"):
        go(tmp_path, resume=True, inputs=INPUTS | {"encoder": "two"})


def test_a_dry_run_measures_and_counts():
    t = training()
    found = dry_run(t, Small(t))
    assert found["parameters"] == 8 and found["steps_per_epoch"] == 10 and found["seconds_per_step"] > 0
    assert found["batch"] == ["(8, 3) float32", "(8, 2) float32"] and found["peak_memory_MiB"] > 1
    assert "8 parameters" in summary(found)


def test_flops_of_a_linear_layer_are_those_of_its_products():
    # Forward and the gradient of the weights: 2 * 8 * 3 * 2 each; the input needs no gradient.
    assert flops(training(), Regression()) == 2 * (2 * 8 * 3 * 2)


def test_snapshots_are_kept_for_averages_made_afterwards(tmp_path):
    one = training(steps=8, ema_stds=(0.05, 0.1))
    complete(Run(tmp_path), one, Small(one))
    kept = sorted(p.name for p in (tmp_path / "averages").iterdir())
    assert kept == [f"{step:08d}_{std}.safetensors" for step in (4, 8) for std in ("0.05", "0.1")]
    tensors, meta = load_tensors(tmp_path / "averages" / "00000008_0.1.safetensors")
    assert torch.equal(tensors["weight"], one.powers[1].shadow["weight"]) and meta["step"] == 8
