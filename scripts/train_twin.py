"""Train stage 2, the denoiser, on real pairs, views of one recording, and pairs of simulated people, in the configured shares.

python scripts/train_twin.py --store STORE --vae runs/vae/weights.safetensors --base runs/base/weights.safetensors --output runs/twin
"""

from ecgtwin.cli.train import stage_app

app = stage_app("twin", __doc__, "vae", "base", "statements")

if __name__ == "__main__":
    app()
