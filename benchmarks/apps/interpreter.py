"""Says which interpreter the containers of the image run on; running it also builds the image."""

from recipe import image

import portico

app = portico.App("bench-interpreter", image=image)


@app.function()
def interpreter() -> str:
    import sys

    return sys.executable


@app.local_entrypoint()
def main() -> None:
    print(interpreter.remote())
