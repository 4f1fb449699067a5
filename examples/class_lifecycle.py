"""A class: `enter` once when a container starts, `exit` once when it stops, requests in between.

    $ portico serve examples/class_lifecycle.py
    $ curl "$URL?word=pear"
    {"word":"pear","known":true,"answers":1}
    $ curl "$URL?word=brick"
    {"word":"brick","known":false,"answers":2}

Both requests met the same container, and `load` ran once, as the log that `serve` prints shows.
"""

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("class-lifecycle", image=image)


@app.cls(scaledown_window=30)
class Dictionary:
    @portico.enter()
    def load(self) -> None:
        print("loading the dictionary")
        self.words = {"apple", "pear", "plum"}
        self.answers = 0

    @portico.fastapi_endpoint()
    def look_up(self, word: str) -> dict[str, str | bool | int]:
        self.answers += 1
        return {"word": word, "known": word in self.words, "answers": self.answers}

    @portico.exit()
    def close(self) -> None:
        print(f"closing after {self.answers} answers")
