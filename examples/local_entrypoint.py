"""A program on this machine that calls a function in a container.

    $ portico run examples/local_entrypoint.py --text "to be or not to be"
    4 different words of 6
    $ portico run examples/local_entrypoint.py::different_words --text "so so"
    1

The first runs `main` here; the second calls the function itself and prints what it returns.
"""

import portico

app = portico.App("local-entrypoint")


@app.function()
def different_words(text: str) -> int:
    return len(set(text.split()))


@app.local_entrypoint()
def main(text: str) -> None:
    call = different_words.spawn(text)  # begins, and does not wait
    words = len(text.split())
    print(f"{call.get()} different words of {words}")
