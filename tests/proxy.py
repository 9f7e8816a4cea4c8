"""A small TCP proxy for faults on the way: it delays, cuts and corrupts what goes through it."""

import random
import selectors
import socket
import threading


class Proxy:
    """Forwards to a port. delay: seconds before each piece; corrupt: the share of pieces of which one byte is changed."""

    def __init__(self, port):
        self.port_behind = port
        self.delay = self.corrupt = 0.0
        self.open = True
        self.random = random.Random(1)
        self._pairs = []
        self._stop = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.1)
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self):
        while not self._stop.is_set():
            try:
                client, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.port_behind), 2)
            except OSError:
                client.close()
                continue
            self._pairs.append((client, server))
            thread = threading.Thread(target=self._pump, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pump(self, client, server):
        other = {client: server, server: client}
        with selectors.DefaultSelector() as selector:
            for end in other:
                selector.register(end, selectors.EVENT_READ)
            try:
                while not self._stop.is_set():
                    for ready, _ in selector.select(0.1):
                        data = bytearray(ready.fileobj.recv(65536))
                        if not data:
                            return
                        if self.delay:
                            self._stop.wait(self.delay)
                        if self.random.random() < self.corrupt:
                            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
                        other[ready.fileobj].sendall(data)
            except OSError:
                pass
            finally:
                client.close()
                server.close()

    def cut(self):
        """End all connections in the middle of whatever they are at, and refuse new ones."""
        self.open = False
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._pairs.clear()

    def mend(self):
        """Let new connections through."""
        self.open = True

    def stop(self):
        self._stop.set()
        self.cut()
        self._listening.close()
        for thread in self._threads:
            thread.join(5)
