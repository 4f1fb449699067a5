"""The control API over HTTP: routes, bodies, streams and problems."""
