"""Setting trace_function of a suspended tasklet runs code: an audit hook, the finalizer of
the old function.  That code may do anything, with the tasklet too."""

import unittest

from .support import ChildTestCase


class Setters(ChildTestCase):

    # It ran with the tasklet's side block half emptied, and crashed if that one ended.
    SCRIPT = """
        import sys, threading
        from stackless import *
        todo = []
        def do():
            while todo:
                todo.pop()()
        class Tracer:
            def __call__(self, frame, event, arg):
                calls.append(frame.f_code.co_name)
            def __del__(self):
                do()
        def traced():
            pass
        def task():
            schedule_remove(None)
            traced()
        calls = []
        sys.addaudithook(lambda event, args: event == "sys.settrace" and do())
        """

    def test_the_tasklet_ends_in_a_hook(self):
        self.run_ok(self.SCRIPT + """
        t = tasklet(task)()
        t.run()
        todo.append(t.run)
        t.trace_function = Tracer()
        assert not t.alive and not calls, calls
        t.trace_function = None
        """)

    def test_the_tasklet_ends_in_a_finalizer(self):
        self.run_ok(self.SCRIPT + """
        t = tasklet(task)()
        t.run()
        t.trace_function = Tracer()
        todo.append(t.run)
        sys.settrace(None)              # its hook runs that
        assert not t.alive and calls == ["traced"], calls
        t = tasklet(task)()
        t.run()
        t.trace_function = Tracer()
        sys.settrace(None)
        class Runs(Tracer):
            def __del__(self):
                t.run()
        t.trace_function = Runs()
        t.trace_function = None
        assert not t.alive and sys.gettrace() is None
        """)

    def test_the_setter_is_left(self):
        self.run_ok(self.SCRIPT + """
        def mine(frame, event, arg):
            mine.calls.append(frame.f_code.co_name)
        mine.calls = []
        def setter():
            sys.settrace(mine)
            todo.append(schedule)
            t.trace_function = None
            traced()
            assert sys.gettrace() is mine
        def other():
            assert sys.gettrace() is None
            sys.settrace(Tracer())
            traced()
        t = tasklet(task)()
        t.run()
        tasklet(setter)()
        tasklet(other)()
        run()
        assert "traced" in mine.calls and "traced" in calls
        t.run()
        """)

    def test_another_thread_resumes_it(self):
        self.run_ok(self.SCRIPT + """
        def thread():
            global t
            t = tasklet(task)()
            t.run()
            ready.release()
            go.acquire()
            t.run()
            resumed.release()
            finish.acquire()
        ready, go, resumed, finish = (threading.Semaphore(0) for i in range(4))
        thr = threading.Thread(target=thread)
        thr.start()
        ready.acquire()
        def meanwhile():
            go.release()
            resumed.acquire()
        todo.append(meanwhile)
        t.trace_function = Tracer()
        assert not t.alive
        finish.release()
        thr.join()
        assert sys.gettrace() is None and not calls
        """)

    def test_another_thread_runs_it(self):
        self.run_ok(self.SCRIPT + """
        def waits():
            schedule_remove(None)
            running.release()
            finish.acquire()
        def thread():
            global t
            t = tasklet(waits)()
            t.run()
            ready.release()
            go.acquire()
            t.run()
        ready, go, running, finish = (threading.Semaphore(0) for i in range(4))
        thr = threading.Thread(target=thread)
        thr.start()
        ready.acquire()
        def meanwhile():
            go.release()
            running.acquire()
        todo.append(meanwhile)
        try:
            t.trace_function = Tracer()
        except RuntimeError as e:
            assert "another thread" in str(e), e
        else:
            assert False
        finish.release()
        thr.join()
        assert sys.gettrace() is None and not calls
        """)


class Replaced(ChildTestCase):
    """Debuggers put functions of their own into module sys, which complain when a program
    calls them.  They were called when a trace_function was set."""

    SCRIPT = """
        import sys
        def complain(*args):
            complaints.append(args)
        complaints = []
        real = sys.settrace, sys.setprofile
        def trace(frame, event, arg):
            pass
        """

    def replaced(self, script):
        self.run_ok(self.SCRIPT + script)

    REPLACE = """
        sys.settrace = sys.setprofile = complain
        """
    USE = """
        import stackless
        def task():
            me = stackless.current
            for name in ("trace_function", "profile_function"):
                setattr(me, name, trace)
                assert getattr(me, name) is trace
                setattr(me, name, None)
                assert getattr(me, name) is None
            stackless.schedule_remove()
        t = stackless.tasklet(task)
        for i in range(3):
            t.trace_function = t.profile_function = trace
            assert (t.trace_function, t.profile_function) == (trace, trace)
            t.trace_function = t.profile_function = None
            if i == 0:
                t()
                stackless.run()
            elif i == 1:
                t.run()
        assert not t.alive
        task_ = stackless.tasklet(task)()
        stackless.run()
        task_.kill()
        stackless.current.trace_function = None
        assert not complaints, complaints
        """

    def test_replaced_before(self):
        self.replaced(self.REPLACE + self.USE)

    def test_replaced_afterwards(self):
        self.replaced("""
        import stackless
        """ + self.REPLACE + self.USE)

    def test_deleted(self):
        self.replaced("""
        del sys.settrace, sys.setprofile
        """ + self.USE)

    def test_the_module_is_replaced(self):
        self.replaced("""
        import stackless, types
        sys.modules["sys"] = types.SimpleNamespace(settrace=complain, setprofile=complain)
        """ + self.USE)

    def test_hooks_are_told(self):
        # Those that see what the interpreter's own functions do.
        self.replaced("""
        import stackless
        events = []
        sys.addaudithook(lambda event, args: events.append(event))
        """ + self.REPLACE + """
        t = stackless.tasklet(lambda: None)
        t.trace_function = t.profile_function = trace
        assert {"sys.settrace", "sys.setprofile"} <= set(events), events
        assert not complaints
        """)


if __name__ == "__main__":
    unittest.main()
