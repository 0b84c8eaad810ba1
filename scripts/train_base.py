"""Train stage 1, the individual base extractor, by contrast between patients.

python scripts/train_base.py --store STORE --vae runs/vae/weights.safetensors --output runs/base [--statements TABLE] [--resume]
"""

from ecgtwin.cli.train import stage_app

app = stage_app("base", __doc__, "vae", "statements")

if __name__ == "__main__":
    app()
