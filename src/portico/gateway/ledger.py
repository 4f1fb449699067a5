"""The book that every request is entered in, once, when it is over: as a count, and as a line where a log is kept."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from portico.gateway.access_log import Ended, line
from portico.gateway.forwarding import Peer
from portico.gateway.head import RequestHead
from portico.gateway.log_writer import LogWriter
from portico.pools.tally import Tally

ANSWERED = "answered"  # by a container, whole
UPGRADED = "upgraded"  # to a WebSocket: counted when it opens, logged when it is over
ABORTED = "aborted"  # by the client
CUT = "cut"  # by the gateway, after the answer began or as it ends
DROPPED = "dropped"  # unread: it came behind the last request that its connection was good for


class Ledger:
    """Counts every request at its function, or at the `strays` where none was found, and logs it.

    `client_of` gives the client's address for a request's head and who it came from.
    """

    __slots__ = ("_client_of", "_log", "strays")

    def __init__(
        self,
        log: LogWriter | None = None,
        client_of: Callable[[RequestHead, Peer], str] = lambda head, peer: peer.address,
    ) -> None:
        self._log = log
        self._client_of = client_of
        self.strays = Tally()

    def enter(self, ended: Ended, outcome: str, status: int) -> None:
        """A request is over; `status` is what its client was told, 0 for nothing."""
        seconds = monotonic() - ended.began
        endpoint = ended.endpoint
        tally = self.strays if endpoint is None else endpoint.tally
        if outcome is ANSWERED:
            tally.answer(status, seconds)
        else:
            tally.other(outcome, status)
            if outcome is UPGRADED:
                return
        if self._log is not None:
            self._log.write(line(ended, self._client_of, outcome, status, seconds))

    @property
    def keeps_log(self) -> bool:
        """Whether there is an access log."""
        return self._log is not None

    def websocket_over(self, ended: Ended) -> None:
        """A WebSocket is over, which `enter` has counted."""
        if self._log is not None:
            seconds = monotonic() - ended.began
            self._log.write(line(ended, self._client_of, UPGRADED, 101, seconds))

    @property
    def lines_dropped(self) -> int:
        """Lines of the access log that could not be written."""
        return 0 if self._log is None else self._log.dropped
