"""What is loaded when: the package and its help are there at once, without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ecgtwin

ROOT = Path(__file__).resolve().parents[1]


def python(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, env=environment)


HEAVY = ("torch", "scipy", "pandas", "matplotlib")


@pytest.mark.parametrize(
    "line", ["", "--help", "generate --help", "evaluate --help", "data --help", "image --help", "--version"]
)
def test_nothing_heavy_is_loaded_before_it_is_needed(line):
    code = "import sys, ecgtwin\n"
    if line:
        code += f"from ecgtwin.cli import app\napp({line.split()}, standalone_mode=False)\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    result = python("-c", code)
    assert result.returncode == 0 and result.stderr.strip().splitlines()[-1] == "[]", result.stderr


def test_a_model_is_loaded_without_what_it_does_not_need():
    """Each of these takes a second or more of the first twin."""
    code = (
        "import sys, ecgtwin; ecgtwin.ECGTwin.from_pretrained()\n"
        "for name in ('torch._dynamo', 'sympy', 'pandas', 'matplotlib', 'wfdb', 'transformers', 'diffusers'):\n"
        "    assert name not in sys.modules, name"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_public_names_come_when_they_are_used():
    from ecgtwin.ecg.record import ECG

    assert ecgtwin.ECG is ECG and set(ecgtwin.__all__) <= set(dir(ecgtwin))
    with pytest.raises(AttributeError, match="it has ECG, Condition, ECGTwin"):
        _ = ecgtwin.EKG


def test_the_version_is_told_in_three_ways():
    assert python("-m", "ecgtwin", "--version").stdout.strip() == f"ecgtwin {ecgtwin.__version__}"
    assert f'"{ecgtwin.__version__}"' in (ROOT / "ecgtwin" / "__init__.py").read_text()
