"""`python -m ecgtwin` is `ecgtwin`."""

from .cli import app

app(prog_name="ecgtwin")
