"""Form fields and an uploaded file, as FastAPI reads them.

    $ portico serve examples/forms_and_uploads.py
    $ curl -F title=Licence -F file=@LICENSE "$URL"
    {"title":"Licence","file":"LICENSE","lines":202}

`-F` sends `multipart/form-data`, as a browser's form does.
"""

from typing import Annotated

from fastapi import Form, UploadFile

import portico

image = portico.Image.debian_slim().pip_install("fastapi[standard]")
app = portico.App("forms-and-uploads", image=image)


@app.function()
@portico.fastapi_endpoint(method="POST")
async def count_lines(title: Annotated[str, Form()], file: UploadFile) -> dict[str, str | int]:
    content = await file.read()
    return {"title": title, "file": file.filename or "", "lines": content.count(b"\n")}
