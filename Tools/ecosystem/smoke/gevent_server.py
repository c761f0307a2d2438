"""A WSGI server, asked by threads' code in a patched standard library."""
from gevent import monkey

monkey.patch_all()
import queue
import threading

import gevent
import requests
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer


def application(environ, start_response):
    gevent.sleep(0.001)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"you asked for {environ['PATH_INFO']}".encode()]


server = WSGIServer(("127.0.0.1", 0), application, log=None)
server.start()
session = requests.Session()
session.trust_env = False
base = f"http://127.0.0.1:{server.server_port}"
pool = Pool(10)
answers = pool.map(lambda n: session.get(f"{base}/{n}", timeout=30).text, range(100))
assert answers == [f"you asked for /{n}" for n in range(100)]
server.stop()

q = queue.Queue()
threads = [threading.Thread(target=lambda n=n: [q.put(n) for _ in range(5)]) for n in range(10)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(q.queue) == sorted(list(range(10)) * 5)
assert gevent.get_hub().threadpool.spawn(sum, [1, 2, 3]).get() == 6
with gevent.Timeout(0.01, False):
    gevent.sleep(60)
    raise AssertionError("no timeout")
