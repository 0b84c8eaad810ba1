"""Train an image model: auto-encoder (for latent models), denoiser, refiner (where the configuration has one).

python scripts/train_image.py --config unet --data digits --output runs/digits_unet [--resume] [--cpu]
The same as `ecgtwin image train`; the stages are in `ecgtwin.image.training`.
"""

import typer

from ecgtwin.cli.image import train

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(help=__doc__)(train)

if __name__ == "__main__":
    app()
