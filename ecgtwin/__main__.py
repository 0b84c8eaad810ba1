"""`python -m ecgtwin` is `ecgtwin`."""

from .cli import app

if __name__ == "__main__":  # processes that a run starts import this file too
    app(prog_name="ecgtwin")
