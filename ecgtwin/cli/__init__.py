"""The command line: prints, formats, asks. Nothing else imports it."""

from .main import app

__all__ = ["app"]
