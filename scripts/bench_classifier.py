"""What classifier guidance does where the model itself is told nothing of the wish (--guidance 0), by its scale.

python scripts/bench_classifier.py image MODEL --classifier runs/classifier/weights.safetensors
python scripts/bench_classifier.py ecg --classifier runs/classifier/weights.safetensors

image: share of digits that an independent judge reads as asked for. ecg: simulated people in sinus rhythm asked for a
statement; QRS duration, T wave in V6, and the independent reader's probability of the statement.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ecgtwin.cli.errors import refusing
from ecgtwin.cli.options import Json, Output, tell
from ecgtwin.cli.pictures import Model

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Classifier = Annotated[Path, typer.Option(help="weights.safetensors of train_classifier.py")]
SCALES = (0.0, 0.5, 1.0, 2.0, 4.0)
STATEMENTS = ("complete left bundle branch block", "complete right bundle branch block", "inverted T waves")


@app.command()
def image(
    model: Model,
    classifier: Classifier,
    n: Annotated[int, typer.Option("-n", help="images of each digit", min=1)] = 15,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Digits that are recognised, by scale."""
    with refusing():
        import torch

        from ecgtwin.image.dataset import DIGITS, read_digits
        from ecgtwin.image.judge import train_judge
        from ecgtwin.image.pipeline import ImagePipeline, Request

        pipeline = ImagePipeline.from_pretrained(model, device="cpu")
        settings = pipeline.parts.data
        judge = train_judge(read_digits(pipeline.config.picture, settings).split(settings.held)[0])
        captions = [f"a handwritten {digit}" for digit in DIGITS for _ in range(n)]
        requests, found = (
            [Request(caption, k) for k, caption in enumerate(captions)],
            pipeline.load_classifier(classifier),
        )
        rows = []
        for scale in SCALES:
            made = torch.cat(
                [pipeline.sample(requests[k : k + 64], guidance=0.0, classifier=(found, scale))
                 for k in range(0, len(requests), 64)]
            )  # fmt: skip
            rows.append({"scale": scale, "recognised %": 100 * judge.accuracy(made, captions)})
        text = "\n".join(f"| {r['scale']:g} | {r['recognised %']:.1f} % |" for r in rows)
        tell(rows, "| scale | recognised |\n|---|---|\n" + text, as_json, output)


@app.command()
def ecg(
    classifier: Classifier,
    model: Annotated[str, typer.Option(help='a model folder, or "default"')] = "default",
    people: Annotated[int, typer.Option(help="simulated people", min=1)] = 8,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Statements that are drawn, by scale."""
    with refusing():
        from ecgtwin import Condition, ECGTwin
        from ecgtwin.ecg.intervals import measure
        from ecgtwin.ecg.leads import INDEPENDENT
        from ecgtwin.ecg.simulate import Person, simulate
        from ecgtwin.metrics.evaluators import Statements

        twin, reader = ECGTwin.from_pretrained(model), Statements.load()
        found, own = twin.load_classifier(classifier), Condition("sinus rhythm")
        references = [simulate(Person.draw(k), "sinus rhythm", 66.0, seed=k) for k in range(people)]
        rows = []
        for statement in STATEMENTS:
            for scale in SCALES:
                wanted = Condition(f"sinus rhythm|{statement}")
                drawn = twin.generate(
                    references, wanted, reference_condition=own, guidance=0.0, classifier=(found, scale), seed=1
                )
                signals = np.stack([one.select(INDEPENDENT).signal[:, :1024] for (one,) in drawn])
                measured = [measure(x, drawn[0][0].rate, INDEPENDENT) for x in signals]
                qrs = [np.nan if m.qrs is None else m.qrs for m in measured]
                t = [np.nan if m.amplitudes is None or m.amplitudes["V6"].t is None else m.amplitudes["V6"].t
                     for m in measured]  # fmt: skip
                p = reader(signals)[:, reader.names.index(statement)]
                rows.append({"statement": statement, "scale": scale, "QRS ms": float(np.nanmean(qrs)),
                             "T in V6 mV": float(np.nanmean(t)), "read": float(p.mean())})  # fmt: skip
        text = ["| statement | scale | QRS ms | T in V6 mV | read with probability |", "|---|---|---|---|---|"]
        text += [f"| {r['statement']} | {r['scale']:g} | {r['QRS ms']:.0f} | {r['T in V6 mV']:.2f} | {r['read']:.2f} |"
                 for r in rows]  # fmt: skip
        tell(rows, "\n".join(text), as_json, output)


if __name__ == "__main__":
    app()
