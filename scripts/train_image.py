"""Train an image model: auto-encoder (for latent models), denoiser, refiner (where the configuration has one).

python scripts/train_image.py --config configs/image_unet.yaml --data digits --output runs/digits_unet [--resume] [--cpu]
The same as `ecgtwin image train`; the stages are in `ecgtwin.image.train`.
"""

import typer

from ecgtwin.cli.image import train

if __name__ == "__main__":
    typer.run(train)
