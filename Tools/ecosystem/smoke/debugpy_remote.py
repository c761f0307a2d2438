"""debugpy: a breakpoint, frames and values in tasklets (on stock, in plain calls), by its protocol."""
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """\
import sys
import debugpy
try:
    from stackless import run, schedule, tasklet
except ImportError:
    def tasklet(function):
        return function
    def run(): pass
    def schedule(): pass

def work(name):
    total = 0
    for i in range(2):
        total += i
        schedule()
        print(name, i, total)

def begin(name):
    work(name)

debugpy.listen(("127.0.0.1", int(sys.argv[1])), in_process_debug_adapter=True)
debugpy.wait_for_client()
for name in "ab":
    tasklet(begin)(name)
run()
"""
LINE = 15
TIMEOUT = 60.0


class Client:
    """As much of the debug adapter protocol as is needed here."""

    def __init__(self, port):
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.connection.makefile("rwb")
        self.sent = 0
        self.events, self.responses = [], {}

    def read(self):
        """The next message is kept for whoever asks for it."""
        length = 0
        while (line := self.file.readline().strip()):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the debugger has closed the connection"
        message = json.loads(self.file.read(length))
        if message["type"] == "response":
            self.responses[message["request_seq"]] = message
        elif message["type"] == "event":
            self.events.append(message)

    def send(self, command, **arguments):
        self.sent += 1
        text = json.dumps({"seq": self.sent, "type": "request", "command": command,
                           "arguments": arguments}).encode()
        self.file.write(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        self.file.flush()
        return self.sent

    def result(self, number):
        while number not in self.responses:
            self.read()
        message = self.responses.pop(number)
        assert message["success"], message
        return message.get("body", {})

    def ask(self, command, **arguments):
        return self.result(self.send(command, **arguments))

    def event(self, *names):
        while True:
            while not self.events:
                self.read()
            message = self.events.pop(0)
            if message["event"] in names:
                return message["event"], message.get("body", {})


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def session(client, script):
    """What the program's frames and values are, wherever it stops."""
    client.ask("initialize", adapterID="test", pathFormat="path")
    attaching = client.send("attach", justMyCode=False, subProcess=False)
    client.event("initialized")
    client.ask("setBreakpoints", source={"path": str(script)}, breakpoints=[{"line": LINE}])
    client.ask("configurationDone")
    client.result(attaching)
    seen = []
    while True:
        name, body = client.event("stopped", "terminated", "exited")
        if name != "stopped":
            return seen
        frames = client.ask("stackTrace", threadId=body["threadId"])["stackFrames"]
        ours = [frame for frame in frames if frame["source"]["path"] == str(script)]
        assert ours[0]["line"] == LINE, ours
        assert [frame["name"] for frame in ours][:2] == ["work", "begin"], ours
        value = client.ask("evaluate", expression="(name, i, total)", frameId=ours[0]["id"])
        seen.append(value["result"])
        client.ask("continue", threadId=body["threadId"])


def main():
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "program.py").resolve()
        script.write_text(PROGRAM)
        port = free_port()
        with subprocess.Popen([sys.executable, "-X", "frozen_modules=off", str(script), str(port)],
                              stdout=subprocess.PIPE, text=True) as child:
            try:
                seen = session(Client(port), script)
                output, _ = child.communicate(timeout=TIMEOUT)
            finally:
                child.kill()
    lines = [(name, i, i) for name in "ab" for i in range(2)]
    assert sorted(seen) == [repr(line) for line in lines], seen
    assert sorted(output.split("\n"))[1:] == ["%s %d %d" % line for line in lines], output
    assert child.returncode == 0, child.returncode


main()
