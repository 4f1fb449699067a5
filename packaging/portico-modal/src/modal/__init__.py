"""Portico under the name ``modal``: importing this gives the `portico` package itself."""

import sys

import portico
from portico.modal_alias import install

install()
# The import system returns what stands here, so that both names are one module.
sys.modules[__name__] = portico
