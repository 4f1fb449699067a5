"""The records that cross a process border; nothing else crosses one.

Every module here holds msgspec structs and the pure functions that belong to them. They are read by the
SDK, the client, the server and the runner, so they import nothing but the standard library and msgspec and
run on every Python an image may ask for (3.10 and later).
"""
