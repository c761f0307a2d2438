"""An echo server, and clients, in eventlet's green threads."""
import warnings

warnings.simplefilter("ignore")
import eventlet
import eventlet.tpool
from eventlet.green import socket


def serve(listener):
    while True:
        connection, _ = listener.accept()
        pool.spawn_n(echo, connection)


def echo(connection):
    while data := connection.recv(1000):
        connection.sendall(data.upper())
    connection.close()


def client(number):
    with socket.create_connection(address) as connection:
        for turn in range(10):
            text = f"message {turn} of {number}".encode()
            connection.sendall(text)
            assert connection.recv(1000) == text.upper()
    return number


pool = eventlet.GreenPool()
listener = eventlet.listen(("127.0.0.1", 0))
address = listener.getsockname()
server = eventlet.spawn(serve, listener)
assert sorted(eventlet.GreenPool(20).imap(client, range(50))) == list(range(50))
server.kill()

queue = eventlet.Queue()
workers = [eventlet.spawn(lambda: [queue.get() for _ in range(10)]) for _ in range(5)]
for number in range(50):
    queue.put(number)
assert sorted(sum((worker.wait() for worker in workers), [])) == list(range(50))
try:
    with eventlet.Timeout(0.01):
        eventlet.sleep(60)
except eventlet.Timeout:
    pass
else:
    raise AssertionError("no timeout")
assert eventlet.tpool.execute(sum, [1, 2, 3]) == 6
