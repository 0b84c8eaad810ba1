"""`ecgtwin view`: a page in the browser, served to this computer alone."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import refusing, say
from ..options import Device, Model


def view(
    record: Annotated[
        Path | None, typer.Argument(help="an ECG to begin with; others are chosen or dropped on the page")
    ] = None,
    port: Annotated[int, typer.Option(help="0: any that is free")] = 8765,
    browser: Annotated[bool, typer.Option(help="open the page in the browser")] = True,
    encoder: Annotated[
        Path | None, typer.Option(help="folder of the model's text encoder: free text is looked up by meaning")
    ] = None,
    model: Model = None,
    device: Device = "auto",
) -> None:
    """Open a page on this computer: choose an ECG and a state, see twins, what changed, and how
    sure that is. Ctrl+C ends it."""
    with refusing():
        import webbrowser

        from ...ecg.record import ECG
        from ...text.encoder import SentenceTransformerEncoder
        from ...twin.twin import ECGTwin
        from .server import serve
        from .work import Desk

        first = None if record is None else ECG.read(record)
        meaning = None if encoder is None else SentenceTransformerEncoder(encoder)
        server = serve(Desk(ECGTwin.from_pretrained(model, device=device), first, meaning), port)
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        say(f"{address}\nOnly this computer can reach it; nothing is sent anywhere. Ctrl+C ends it.")
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
        finally:
            server.server_close()
