"""gevent: finalizers that the garbage collector calls wait for a reply."""
import gc
import sys

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402

import gevent  # noqa: E402

log, failures = [], []
sys.unraisablehook = lambda unraisable: failures.append(unraisable.exc_value)
here, there = socket.socketpair()


class Subscription:
    def __init__(self, n):
        self.n, self.me = n, self

    def __del__(self):
        here.sendall(b"unsubscribe %d" % self.n)
        log.append(here.recv(100))


def serve():
    while data := there.recv(100):
        gevent.sleep(.001)
        there.sendall(b"done: " + data)


def look_on():
    for _ in range(20):
        gevent.sleep(.001)


server = gevent.spawn(serve)
jobs = [gevent.spawn(look_on)]
for n in range(5):
    Subscription(n)
    jobs.append(gevent.spawn(gc.collect))
    gevent.joinall(jobs)
here.close()
server.join()
assert failures == [], failures
assert log == [b"done: unsubscribe %d" % n for n in range(5)], log
