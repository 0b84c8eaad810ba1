"""One call of the denoiser and of the decoder by several engines: PyTorch as it is, the lean pass that `generate` uses,
in float32 and bfloat16, torch.compile, and onnxruntime on the exported files.

python scripts/bench_engines.py [--model MODEL] [--batch 2 --batch 16] [--repeat 10] [--output FILE]

Engines take turns, so that other load falls on all of them, and the fastest call of each counts. A batch counts
branches of guidance too: one twin at the default scales is 2. "Pays after": how many calls of the denoiser it takes
until the seconds of compiling have been saved, beside the lean pass; "never" where it is no quicker.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from ecgtwin.cli.errors import refusing, say
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.twin.condition import join
from ecgtwin.twin.lean import LeanTwin
from ecgtwin.twin.onnx import example, export_onnx
from ecgtwin.twin.twin import ECGTwin

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
TIME = 500.0
"""Timestep of every call: all cost the same."""


def timed(ways: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Milliseconds of each way, the fastest of `repeat` rounds in which they take turns."""
    found = {name: float("inf") for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            found[name] = min(found[name], 1000 * (time.perf_counter() - begin))
    return found


def processor_time() -> float:
    """Seconds of this process and of those that it started and that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


class Compiled:
    """The network through torch.compile for any batch, and how many processor seconds that took."""

    def __init__(self, twin: ECGTwin, way: Callable[[Any], tuple]):
        self.network = torch.compile(twin.parts.denoiser, dynamic=True)
        begin = processor_time()
        for batch in (2, 3):
            self.network(*way(batch))
        self.seconds = processor_time() - begin


@app.command(help=__doc__)
def main(
    model: Annotated[Path | None, typer.Option(help="model folder; the model inside the package if left out")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="ECGs in a call; may be repeated")] = None,
    repeat: Annotated[int, typer.Option(help="rounds", min=1)] = 10,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="whether torch.compile is tried")] = True,
    output: Output = None,
    as_json: Json = False,
) -> None:
    with refusing(), torch.inference_mode(), tempfile.TemporaryDirectory() as place:
        import onnxruntime

        twin = ECGTwin.from_pretrained(model, device="cpu")
        network, vae = twin.parts.denoiser, twin.parts.vae
        begin = time.perf_counter()
        files = export_onnx(twin, Path(place))
        found: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        found |= {"onnxruntime": onnxruntime.__version__, "export_seconds": time.perf_counter() - begin, "calls": {}}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        denoiser, decoder = (
            onnxruntime.InferenceSession(f, options, providers=["CPUExecutionProvider"]) for f in files
        )

        def asked(b: int) -> tuple[Tensor, Tensor, Any]:
            x, _, c = example(twin, b)
            return x, torch.full((b,), TIME), network.prepare(join([c]))

        quick = None
        if compiled:
            quick = Compiled(twin, asked)
            found["compile_seconds"] = quick.seconds
            say(f"compiled in {quick.seconds:.0f} s")
        for b in batch or (2, 16, 32):
            x, t, prepared = asked(b)
            given = {name: value.numpy() for name, value in example(twin, b)[2]._asdict().items() if value is not None}
            given |= {"x": x.numpy(), "t": t.numpy()}
            lean, half = (LeanTwin(network, prepared, x.shape[-1], dtype=d) for d in (torch.float32, torch.bfloat16))
            for one in (lean, half):
                one.expect([TIME])
            ways: dict[str, Callable[[], Any]] = {
                "PyTorch": lambda x=x, t=t, p=prepared: network(x, t, p),
                "lean": lambda x=x, one=lean: one(x, TIME),
                "lean, bfloat16": lambda x=x, one=half: one(x, TIME),
                "onnxruntime": lambda g=given: denoiser.run(None, g)[0],
            }
            if quick is not None:
                ways["torch.compile"] = lambda x=x, t=t, p=prepared: quick.network(x, t, p)
            expected = ways["PyTorch"]()
            scale = float(expected.std())
            apart = {name: float(np.abs(np.asarray(way()) - np.asarray(expected)).max()) / scale
                     for name, way in ways.items()}  # fmt: skip
            decode = {
                "PyTorch": lambda x=x: vae.decode(x),
                "onnxruntime": lambda g=x.numpy(): decoder.run(None, {"z": g})[0],
            }
            found["calls"][b] = {"denoiser": timed(ways, repeat), "decoder": timed(decode, repeat), "apart": apart}
        if quick is not None:
            for row in found["calls"].values():
                saved = row["denoiser"]["lean"] - row["denoiser"]["torch.compile"]
                row["pays_after"] = None if saved <= 0 else round(1000 * quick.seconds / saved)
        tell(found, table(found), as_json, output)


def table(found: dict[str, Any]) -> str:
    first = next(iter(found["calls"].values()))
    names = list(first["denoiser"])
    lines = [
        f"PyTorch {found['torch']}, onnxruntime {found['onnxruntime']}, {found['threads']} threads; export "
        f"{found['export_seconds']:.0f} s" + (f", compiling {found['compile_seconds']:.0f} s"
                                              if "compile_seconds" in found else "") + "; ms a call",
        "",
        "| batch | " + " | ".join(names) + " | compiling pays after | decoder, PyTorch | decoder, onnxruntime |",
        "|---" * (len(names) + 4) + "|",
    ]  # fmt: skip
    for b, row in found["calls"].items():
        pays = row.get("pays_after", "")
        cells = [f"{row['denoiser'][name]:.1f}" for name in names] + ["never" if pays is None else str(pays)]
        cells += [f"{row['decoder'][name]:.1f}" for name in ("PyTorch", "onnxruntime")]
        lines.append("| " + " | ".join([str(b), *cells]) + " |")
    worst = {name: max(row["apart"][name] for row in found["calls"].values()) for name in names[1:]}
    lines += ["", "Largest difference from PyTorch, of the answer's standard deviation: "
              + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()) + "."]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    app()
