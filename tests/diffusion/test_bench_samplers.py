"""scripts/bench_samplers.py runs, writes what it promises, and ranks samplers as theory does."""

import json
import sys

import pytest
import torch
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def script(loaded):
    return loaded("scripts/bench_samplers.py")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside diffusers
def test_tables_json_and_plot(script, tmp_path):
    options = ["--calls", 4, "--calls", 12, "--samples", 64, "--repeats", 1, "--json", "--output", tmp_path]
    printed = json.loads(CliRunner().invoke(script.app, [str(o) for o in options]).stdout)
    assert printed == json.loads((tmp_path / "samplers.json").read_text())
    assert (tmp_path / "samplers.png").read_bytes().startswith(b"\x89PNG")
    assert "| DPM-Solver++ 2M |" in (tmp_path / "samplers.md").read_text()
    assert all(row["ours_us"] > 0 for row in printed["costs"])
    rows = {(row["sampler"], row["budget"]): row for row in printed["quality"]["rows"]}
    assert {name for name, _ in rows} == set(script.SAMPLERS)
    for (name, budget), row in rows.items():
        assert row["calls"] <= budget + 1, name  # some solvers spend one more, once, at the start
        assert (row["flow_error"] is not None) == script.SAMPLERS[name][2]
    for name in script.SAMPLERS:
        assert rows[name, 12]["mmd2"] < rows[name, 4]["mmd2"]
    assert rows["DPM-Solver++ 2M", 12]["flow_error"] < rows["DDIM", 12]["flow_error"]


def test_costs_without_diffusers(script, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    rows = script.costs((2, 4, 8), 5, 1)
    assert all(row["ours_us"] > 0 and row["diffusers_us"] is None for row in rows)
    assert "not installed" in script.cost_table(rows)


def test_kernel_distance_is_unbiased_and_sees_a_shift(script):
    mixture = script.ring()
    draws = [mixture.draw(256, torch.Generator().manual_seed(k)) for k in range(30)]
    found = torch.tensor([script.kernel_distance(x, mixture) for x in draws])
    assert found.mean().abs() < 3 * found.std() / 30**0.5
    assert script.kernel_distance(draws[0] + 0.3, mixture) > 10 * found.abs().max()


@pytest.mark.parametrize("wrong", [["--calls", "0"], ["--samples", "1"], ["--spacing", "random"]])
def test_bad_arguments_end_with_code_2(script, wrong):
    result = CliRunner().invoke(script.app, wrong)
    assert result.exit_code == 2 and "Usage" in result.stderr
