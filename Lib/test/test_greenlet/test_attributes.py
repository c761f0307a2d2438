"""dead, gr_frame, _stack_saved, repr() and what greenlets refuse."""

import copy
import pickle
import sys
import threading
import unittest
import weakref

from greenlet import getcurrent, greenlet

from .support import GreenletTestCase, echo, in_thread, switch_back


class ReadOnly(GreenletTestCase):

    def test_not_writable(self):
        g = greenlet()
        for name in "dead", "gr_frame", "_stack_saved":
            for target in g, getcurrent():
                with self.assertRaisesRegex(
                        AttributeError, f"^attribute '{name}' of 'greenlet.greenlet' objects "
                                        "is not writable$"):
                    setattr(target, name, 1)
                with self.assertRaises(AttributeError):
                    delattr(target, name)

    def test_unknown(self):
        with self.assertRaises(AttributeError):
            greenlet().nonesuch


class Frame(GreenletTestCase):

    def test_pending_current_dead(self):
        g = greenlet(lambda: getcurrent().gr_frame)
        self.assertIsNone(g.gr_frame)
        self.assertIsNone(g.switch())
        self.assertIsNone(g.gr_frame)
        self.assertIsNone(getcurrent().gr_frame)

    def test_suspended(self):
        def run():
            frames.append(sys._getframe())
            getcurrent().parent.switch()
        frames = []
        g = self.started(run)
        self.assertIs(g.gr_frame, frames.pop())
        self.assertIs(g.gr_frame, g.gr_frame)
        self.assertIs(g.gr_frame.f_code, run.__code__)

    def test_chain(self):
        def inner():
            switch_back()

        def outer():
            inner()
        g = self.started(outer)
        codes, f = [], g.gr_frame
        while f is not None:
            codes.append(f.f_code)
            f = f.f_back
        self.assertEqual(codes, [switch_back.__code__, inner.__code__, outer.__code__])

    def test_chain_while_running(self):
        def outer():
            return inner()

        def inner():
            codes, f = [], sys._getframe()
            while f is not None:
                codes.append(f.f_code)
                f = f.f_back
            return codes
        codes = [inner.__code__, outer.__code__]
        self.assertEqual(greenlet(outer).switch(), codes)

        def resumed():
            switch_back()
            return inner()
        g = self.started(resumed)
        self.assertEqual(g.switch(), [inner.__code__, resumed.__code__])

    def test_chain_through_c_code(self):
        def key(x):
            if x == 1:
                switch_back()
            return x

        def run():
            return sorted([1], key=key)

        def outer():
            return list(map(lambda x: run(), [1]))
        g = self.started(outer)
        names, f = [], g.gr_frame
        while f is not None:
            names.append(f.f_code.co_name)
            f = f.f_back
        self.assertEqual(names, ["switch_back", "key", "run", "<lambda>", "outer"])

    def test_old_frame_objects(self):
        def run():
            frame = sys._getframe()
            x = switch_back(frame)
            switch_back(frame)
            return frame
        g = greenlet(run)
        frame = g.switch()
        self.assertIs(g.gr_frame.f_back, frame)
        self.assertIsNone(frame.f_locals["frame"].f_back)
        self.assertIs(g.switch(5), frame)
        self.assertEqual(frame.f_locals["x"], 5)
        self.assertIs(g.switch(), frame)
        self.assertIsNone(frame.f_back)
        self.assertEqual(frame.f_locals["x"], 5)

    def test_line_numbers_go_on(self):
        def run():
            switch_back()
            switch_back()
        g = self.started(run)
        first = g.gr_frame.f_back.f_lineno
        g.switch()
        self.assertEqual(g.gr_frame.f_back.f_lineno, first + 1)

    def test_clear_refused(self):
        g = self.started(echo, 1)
        for frame in g.gr_frame, g.gr_frame.f_back:
            with self.assertRaises(RuntimeError):
                frame.clear()
        self.assertEqual(g.switch(None), "end")

    def test_clear_when_dead(self):
        def run():
            value = object()
            switch_back(sys._getframe(), value)
        frame, value = (g := greenlet(run)).switch()
        g.switch()
        self.assertIs(frame.f_locals["value"], value)
        frame.clear()
        self.assertEqual(frame.f_locals, {})

    def test_locals_of_a_suspended_one(self):
        def run():
            x = 1
            switch_back()
            return x
        g = self.started(run)
        frame = g.gr_frame.f_back
        self.assertEqual(frame.f_locals["x"], 1)
        frame.f_locals["x"] = 2
        self.assertEqual(g.switch(), 2)

    def test_main_of_another_thread(self):
        # Suspended, because a child of its is running.
        def thread():
            def child():
                go_on.set()
                done.wait()
            mains.append(getcurrent())
            greenlet(child).switch()
        mains, go_on, done = [], threading.Event(), threading.Event()
        t = threading.Thread(target=thread)
        t.start()
        go_on.wait()
        self.assertIs(mains[0].gr_frame.f_code, thread.__code__)
        self.assertActive(mains[0])
        done.set()
        t.join()

    def test_executing_in_another_thread(self):
        def thread():
            some.append(getcurrent())
            go_on.set()
            done.wait()
        some, go_on, done = [], threading.Event(), threading.Event()
        t = threading.Thread(target=lambda: greenlet(thread).switch())
        t.start()
        go_on.wait()
        self.assertIsNone(some[0].gr_frame)
        self.assertTrue(repr(some[0]).endswith(" suspended active started>"))
        done.set()
        t.join()


class StackSaved(GreenletTestCase):

    def test(self):
        g = greenlet(lambda: switch_back(getcurrent()._stack_saved))
        self.assertEqual(g._stack_saved, 0)
        self.assertEqual(g.switch(), 0)
        self.assertIs(type(g._stack_saved), int)
        self.assertGreater(g._stack_saved, 0)
        g.switch()
        self.assertEqual(g._stack_saved, 0)
        self.assertEqual(getcurrent()._stack_saved, 0)


class Repr(GreenletTestCase):

    START = r"^<greenlet\.greenlet object at 0x[0-9a-f]+ \(otid=(0x[0-9a-f]+|\(nil\)|0x\(nil\))\)"

    def check(self, text, end):
        self.assertRegex(text, self.START + end + ">$")

    def test_main(self):
        self.check(repr(getcurrent()), " current active started main")

    def test_main_suspended(self):
        main = getcurrent()
        self.check(greenlet(lambda: repr(main)).switch(), " suspended active started main")

    def test_states(self):
        g = greenlet(lambda: switch_back(repr(g)))
        self.check(repr(g), " pending")
        self.check(g.switch(), " current active started")
        self.check(repr(g), " suspended active started")
        g.switch()
        self.check(repr(g), " dead")
        for word in "suspended", "started", "active", "thread":
            self.assertNotIn(word, repr(g))

    def test_address(self):
        g = greenlet()
        self.assertIn(f" at {id(g):#x} ", repr(g))

    def test_subclass(self):
        class G(greenlet):
            pass
        self.assertRegex(repr(G()), "^<G object at 0x.* pending>$")

    def test_thread_gone(self):
        def thread():
            g = greenlet(switch_back)
            g.switch()
            some.extend([g, getcurrent()])
        some = []
        in_thread(thread)
        for g in some:
            self.assertRegex(repr(g), r" \(thread exited\) dead>$")

    def test_type(self):
        self.assertNotIn("main", repr(type(getcurrent())))


class Dictionary(GreenletTestCase):

    def test_on_demand(self):
        g = greenlet()
        self.assertEqual(g.__dict__, {})
        g.x = 1
        self.assertEqual(g.__dict__, {"x": 1})
        self.assertEqual(vars(g), {"x": 1})
        del g.x
        self.assertFalse(hasattr(g, "x"))

    def test_replace(self):
        g = greenlet()
        g.x = 1
        d = {"y": 2}
        g.__dict__ = d
        self.assertIs(g.__dict__, d)
        self.assertEqual(g.y, 2)
        self.assertFalse(hasattr(g, "x"))

    def test_not_a_dictionary(self):
        g = greenlet()
        for bad in None, 5, []:
            with self.assertRaises(TypeError):
                g.__dict__ = bad

    def test_delete(self):
        g = greenlet()
        g.x = 1
        with self.assertRaises(TypeError):
            del g.__dict__
        self.assertEqual(g.x, 1)

    def test_main(self):
        main = getcurrent()
        main.test_attribute = 1
        self.assertEqual(main.test_attribute, 1)
        self.assertIs(main, getcurrent())
        del main.test_attribute

    def test_of_subclass(self):
        class G(greenlet):
            pass
        g = G(lambda: 1)
        g.x = 5
        g.switch()
        self.assertEqual(g.x, 5)


class WeakReferences(GreenletTestCase):

    def test_states(self):
        g = greenlet(switch_back)
        r = weakref.ref(g)
        self.assertIs(r(), g)
        self.assertEqual(weakref.getweakrefs(g), [r])
        g.switch()
        self.assertIs(r(), g)
        g.switch()
        self.assertIs(r(), g)
        del g
        self.assertIsNone(r())

    def test_callback(self):
        log = []
        g = greenlet()
        r = weakref.ref(g, log.append)
        del g
        self.assertEqual(log, [r])

    def test_main(self):
        self.assertIs(weakref.ref(getcurrent())(), getcurrent())

    def test_as_keys(self):
        d = weakref.WeakKeyDictionary()
        g = greenlet()
        d[g] = 1
        d[getcurrent()] = 2
        self.assertEqual(d[g], 1)
        del g
        self.assertEqual(list(d.values()), [2])

    def test_proxy(self):
        g = greenlet(lambda x: x)
        self.assertEqual(weakref.proxy(g).switch(6), 6)


class Serialization(GreenletTestCase):

    def test_refused(self):
        class G(greenlet):
            pass
        for g, name in ((greenlet(), "greenlet.greenlet"), (getcurrent(), "greenlet.greenlet"),
                        (G(), "G")):
            for function in (copy.copy, copy.deepcopy, pickle.dumps,
                             lambda g: g.__getstate__()):
                with self.assertRaisesRegex(TypeError, f"^cannot serialize '{name}' object$"):
                    function(g)
            for protocol in 0, 1:
                with self.assertRaisesRegex(TypeError, "^cannot (pickle|serialize) "):
                    pickle.dumps(g, protocol)


if __name__ == "__main__":
    unittest.main()
