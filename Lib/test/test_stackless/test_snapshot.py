"""Snapshots: groups of tasklets in bytes and files."""

import json
import os
import random
import tempfile
import time
import unittest

import stackless
from stackless import channel, schedule, snapshot, tasklet
from stackless.snapshot import SnapshotError

from . import pickling
from .support import StacklessTestCase, dump, many, needs_order, needs_soft

HERE = __name__
tearDownModule = pickling.forget


def producer(ch, n):
    for i in range(n):
        ch.send(i)
    ch.send(None)


def consumer(ch, log):
    while (x := ch.receive()) is not None:
        log.append(x)
        schedule()
    log.append("end")


def turn(name, log):
    for i in range(3):
        log.append((name, i))
        schedule()


def with_file(file, log):
    schedule()
    log.append(file)


def evil(log):
    log.append(os.getcwd())
    schedule()


def finish(data, key=None):
    """In another process: everybody goes on."""
    group = snapshot.loads(data, key=key)
    group.resume()
    stackless.run()
    return group.objects[-1]


@needs_soft
class Groups(StacklessTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = pickling.OtherProcess()

    @classmethod
    def tearDownClass(cls):
        cls.other.close()
        super().tearDownClass()

    def run_for(self, turns):
        for _ in range(turns):
            schedule()

    @needs_order
    def test_goes_on_elsewhere(self):
        ch, log = channel(), []
        tasks = [tasklet(consumer)(ch, log), tasklet(producer)(ch, 20),
                 tasklet(turn)("a", log), tasklet(turn)("b", log)]
        self.run_for(2)
        before = dump(ch, *tasks)
        for key in (None, b"secret"):
            data = snapshot.dumps((tasks, ch, log), key=key)
            self.assertEqual(dump(ch, *tasks), before)
            out, how, result = self.other.call(finish, data, key)
            self.assertEqual(how, "ok", result)
        stackless.run()
        self.assertEqual(result, log)
        self.assertIn("end", log)

    @needs_order
    def test_everybody(self):
        ch, log = channel(), []
        tasks = [tasklet(consumer)(ch, log), tasklet(turn)("a", log), tasklet(turn)("b", log)]
        tasks[2].remove()
        self.run_for(1)
        group = snapshot.loads(snapshot.dumps())
        self.assertEqual(len(group.tasklets), 3)
        self.assertEqual(sorted([t.blocked, t.paused] for t in group.tasklets),
                         [[False, True]] * 2 + [[True, False]])
        group.resume()
        self.assertEqual(sum(t.scheduled and not t.blocked for t in group.tasklets), 1)
        for t in [*group.tasklets, *tasks]:
            t.kill()

    def test_chain(self):
        def link(next):
            stackless.schedule_remove(next)
        t = None
        n = many(20_000)
        chain = []
        for _ in range(n):
            t = tasklet(link)(t)
            t.run()
            chain.append(t)
        group = snapshot.loads(snapshot.dumps(t))
        t = group.objects
        length = 0
        copied = []
        while t is not None:
            length += 1
            copied.append(t)
            t = t.frame.f_locals["next"]
        self.assertEqual(length, n)
        for t in reversed(copied):         # who ends lets go of the next one
            t.run()
        for t in chain:
            t.run()

    def test_progress_and_external(self):
        file = object()
        log = []
        t = tasklet(with_file)(file, log)
        self.run_for(1)
        calls = []
        data = snapshot.dumps((t, log), progress=lambda *counts: calls.append(counts),
                              external=lambda op: "the file" if op is file else None)
        self.assertEqual(calls, [(1, 1)])
        with self.assertRaisesRegex(SnapshotError, "resolve= is needed for .*'the file'"):
            snapshot.loads(data)
        group = snapshot.loads(data, resolve={"the file": 5}.__getitem__)
        group.resume()
        stackless.run()
        self.assertEqual((group.objects[1], log), ([5], [file]))


@needs_soft
class Files(StacklessTestCase):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "state")

    def test_save_and_load(self):
        log = []
        t = tasklet(turn)("a", log)
        schedule()
        snapshot.save(self.path, (t, log))
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["state"])
        stackless.run()
        group = snapshot.load(self.path)
        group.resume()
        stackless.run()
        self.assertEqual(group.objects[1], log)

    def test_the_old_one_stays(self):
        snapshot.save(self.path, [1])
        with self.assertRaises(Exception):
            snapshot.save(self.path, [lambda: 1, open(os.devnull)])
        self.assertEqual(snapshot.load(self.path).objects, [1])
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["state"])



@needs_soft
class Refused(StacklessTestCase):

    def setUp(self):
        super().setUp()
        log = []
        t = tasklet(turn)("a", log)
        schedule()
        self.data = snapshot.dumps((t, log))
        self.signed = snapshot.dumps((t, log), key=b"key")
        t.kill()

    def refused(self, data, message, **options):
        with self.assertRaisesRegex(SnapshotError, message):
            snapshot.loads(data, **options)

    def test_foreign(self):
        self.refused(b"", "no snapshot")
        self.refused(b"\x80\x04N.", "no snapshot")
        header = json.loads(self.data[19:512])
        newer = json.dumps({**header, "format": 2}).encode()
        self.refused((self.data[:19] + newer).ljust(511) + b"\n" + self.data[512:],
                     "its format is 2")

    def test_truncated(self):
        for size in (20, 511, 512, 600, len(self.data) - 1):
            self.refused(self.data[:size], "truncated")
        self.refused(self.data + b"x", "damaged")

    def test_damaged(self):
        seed = int(time.time())
        rnd = random.Random(seed)
        print("seed", seed, end=" ", flush=True)
        for _ in range(300):
            data = bytearray(self.data)
            i = rnd.randrange(512, len(data))
            data[i] ^= 1 << rnd.randrange(8)
            self.refused(bytes(data), "damaged")
            data = bytearray(self.signed)
            i = rnd.randrange(len(data))
            data[i] ^= 1 << rnd.randrange(8)
            if data[:512].rstrip() != self.signed[:512].rstrip() or i >= 512:
                self.refused(bytes(data), "", key=b"key")

    def test_keys(self):
        self.assertEqual(len(snapshot.loads(self.signed, key=b"key").tasklets), 1)
        self.refused(self.signed, "is signed: the key is needed")
        self.refused(self.signed, "not signed with this key", key=b"other")
        self.refused(self.data, "is not signed", key=b"key")
        for bad in ("key", b"", 5):
            with self.assertRaisesRegex(TypeError, "key must"):
                snapshot.dumps([], key=bad)

    def test_allow(self):
        self.assertEqual(len(snapshot.loads(self.data, allow=[HERE, "stackless"]).tasklets), 1)
        self.refused(self.data, "not allowed", allow=["json"])
        with self.assertRaises(TypeError):
            snapshot.loads(self.data, allow=HERE)

    def test_allow_refuses_code(self):
        source = turn.__code__
        changed = type(turn)(source.replace(co_consts=(*source.co_consts[:-1], 5)),
                             turn.__globals__)
        log = []
        t = tasklet(changed)("a", log)
        schedule()
        data = snapshot.dumps((t, log))
        self.refused(data, r"the code of turn\(\) is not allowed", allow=[HERE])
        moved = type(turn)(source.replace(co_firstlineno=999, co_filename="elsewhere"),
                           turn.__globals__)
        t2 = tasklet(moved)("a", log)
        schedule()
        self.assertEqual(len(snapshot.loads(snapshot.dumps((t2, log)), allow=[HERE]).tasklets), 1)
        t.kill()
        t2.kill()

    def test_allow_refuses_functions(self):
        for op in (os.system, eval, getattr, __import__("subprocess").Popen, open):
            data = snapshot.dumps([op])
            if op is getattr:
                continue
            self.refused(data, "not allowed", allow=[HERE])
        for op in (os, vars(os)):
            with self.assertRaises((SnapshotError, TypeError)):
                snapshot.loads(snapshot.dumps([os]), allow=[HERE])


if __name__ == "__main__":
    unittest.main()
