"""How fast two nodes of a cluster reach each other, over the addresses that Ray itself uses.

TCP over several connections, for a second. What NCCL reaches over RDMA is more; but a link that is
far below is the wrong cable, or the wrong address.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

CONNECTX_7_GBIT_S = 80.0  # two Sparks over one ConnectX-7 port of 200 Gb/s; below, it is not that
_STREAMS = 8
_SECONDS = 1.0
_WAIT_S = 10.0
_CHUNK_BYTES = 1 << 20
_BITS_PER_BYTE = 8


@contextmanager
def listening(address: str) -> Iterator[int]:
    """Take in what anybody sends to `address`, and give the port, until the block ends."""
    with socket.create_server((address, 0), backlog=_STREAMS) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes the thread, which would hold it open


def gbit_per_s(address: str, port: int) -> float:
    """Send to a node that is listening, for a second; return Gb/s over all connections.

    Raises:
        OSError: it cannot be reached.
    """
    sent = [0] * _STREAMS
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection((address, port), _WAIT_S))
            for _ in range(_STREAMS)
        ]
        began = time.monotonic()

        def send(at: int) -> None:
            chunk, connection = bytes(_CHUNK_BYTES), sockets[at]
            while time.monotonic() - began < _SECONDS:
                connection.sendall(chunk)
                sent[at] += len(chunk)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)  # all of it has arrived

        threads = [threading.Thread(target=send, args=(at,)) for at in range(_STREAMS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(sent) * _BITS_PER_BYTE / (time.monotonic() - began) / 1e9


def _accept(server: socket.socket) -> None:
    with suppress(OSError):  # the block has ended
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_take, args=(connection,), daemon=True).start()


def _take(connection: socket.socket) -> None:
    room = bytearray(_CHUNK_BYTES)
    with connection, suppress(OSError):
        while connection.recv_into(room):
            pass
        connection.sendall(b".")
