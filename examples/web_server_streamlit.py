"""A Streamlit page. Open the URL in a browser and move the slider.

    $ portico serve examples/web_server_streamlit.py
    $ curl -s "$URL/_stcore/health"
    ok

Streamlit keeps what it knows of a visitor in the process that the visitor's WebSocket leads to, so let one container
have them all: `max_containers=1`.
"""

import subprocess
import sys
from pathlib import Path

import portico

image = portico.Image.debian_slim().pip_install("streamlit>=1.40,<2")
app = portico.App("web-server-streamlit", image=image)

PAGE = """
import streamlit as st

st.title("Squares")
number = st.slider("A number", 0, 100, 7)
st.write(f"{number} squared is {number**2}")
"""


@app.function(allow_concurrent_inputs=100, max_containers=1)
@portico.web_server(8000, startup_timeout=60)
def page() -> None:
    Path("page.py").write_text(PAGE)
    options = ["--server.port=8000", "--server.address=0.0.0.0", "--server.headless=true"]
    options += ["--browser.gatherUsageStats=false"]
    subprocess.Popen([sys.executable, "-m", "streamlit", "run", "page.py", *options])
