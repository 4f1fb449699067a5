"""A WSGI server for one app on one unix socket (PEP 3333).

The event loop owns the listener and the connections that wait for a request. When a request's head is complete the
connection goes to a thread, which reads and writes without the loop until the response is over.
"""
