"""A function of a deployed app, called from any Python program that has the client.

    $ portico server start
    $ portico deploy examples/call_deployed.py
    $ python -c 'import portico; print(portico.Function.from_name("call-deployed", "fold").remote("level"))'
    lev|el reads the same backwards
    $ portico app stop call-deployed

The calling program needs neither this file nor the packages of the function's image: arguments and results travel
as pickles, an exception comes back as its own type.
"""

import portico

app = portico.App("call-deployed")


@app.function()
def fold(word: str) -> str:
    same = "the same" if word == word[::-1] else "differently"
    middle = (len(word) + 1) // 2
    return f"{word[:middle]}|{word[middle:]} reads {same} backwards"
