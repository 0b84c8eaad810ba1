"""Train stage 0, the auto-encoder, on the training patients of one or more stores.

python scripts/train_vae.py --store STORE --output runs/vae [--config configs/base.yaml] [--set train.vae.steps=100] [--resume]
"""

from ecgtwin.cli.train import stage_app

app = stage_app("vae", __doc__)

if __name__ == "__main__":
    app()
