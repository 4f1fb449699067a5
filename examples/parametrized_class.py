"""One class, many configurations: each combination of parameter values has containers of its own.

    $ portico serve examples/parametrized_class.py
    $ curl "$URL?base=2&number=10"
    {"base":2,"digits":"1010","requests":1}
    $ curl "$URL?base=16&number=255"
    {"base":16,"digits":"ff","requests":1}
    $ curl "$URL?number=5&base=2"
    {"base":2,"digits":"101","requests":2}
    $ curl "$URL?number=42"
    {"base":10,"digits":"42","requests":1}
    $ curl -s "$URL?base=two&number=5" | grep -o '"detail":"[^"]*"'
    "detail":"class parameter 'base' must be int (of 64 bits), and 'two' is not"

`base` in the query chooses the container, which `prepare` has set up for it; `number` is the handler's. From
Python, the same values lead to the same containers:

    $ portico run examples/parametrized_class.py
    1010 ff 42
"""

import string

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("parametrized-class", image=image)


@app.cls()
class Numerals:
    base: int = portico.parameter(default=10)

    @portico.enter()
    def prepare(self) -> None:
        self.alphabet = (string.digits + string.ascii_lowercase)[: self.base]
        self.requests = 0

    def digits(self, number: int) -> str:
        rest, last = divmod(number, self.base)
        return (self.digits(rest) if rest else "") + self.alphabet[last]

    @portico.fastapi_endpoint()
    def show(self, number: int) -> dict[str, int | str]:
        self.requests += 1
        return {"base": self.base, "digits": self.digits(number), "requests": self.requests}

    @portico.method()
    def write(self, number: int) -> str:
        return self.digits(number)


@app.local_entrypoint()
def main() -> None:
    print(
        Numerals(base=2).write.remote(10),
        Numerals(base=16).write.remote(255),
        Numerals().write.remote(42),
    )
