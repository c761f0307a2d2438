"""Channels: who runs after an action, errors, closing, iteration."""

import gc
import sys
import types
import unittest
import weakref

import stackless
from stackless import bomb, channel, schedule, tasklet

from .support import StacklessTestCase, needs_order, runqueue, waiters


class Error(Exception):
    pass


def nothing():
    pass


class Objects(StacklessTestCase):

    def test_arguments_are_ignored(self):
        self.assertEqual(channel(1, 2, three=3).balance, 0)

    def test_a_new_one(self):
        ch = channel()
        self.assertEqual(ch.balance, 0)
        self.assertIsNone(ch.queue)
        self.assertIs(ch.closing, False)
        self.assertIs(ch.closed, False)
        self.assertEqual(ch.preference, -1)
        self.assertEqual(ch.schedule_all, 0)

    def test_subclass(self):
        class Sub(channel):
            def __init__(self, name):
                self.name = name
        ch = Sub("x")
        self.assertEqual(ch.name, "x")
        t = self.sender(ch, 1)
        self.assertEqual(ch.receive(), 1)
        stackless.run()
        self.assertDead(t)

    def test_subclass_with_overridden_methods(self):
        class Sub(channel):
            def send(self, value):
                super().send(("sub", value))
        ch = Sub()
        log = []
        t = self.receiver(ch, log)
        ch.send(1)
        stackless.run()
        self.assertEqual(log, [("sub", 1)])
        self.assertDead(t)

    def test_no_dict_on_exact_instances(self):
        with self.assertRaises(AttributeError):
            channel().something = 1

    def test_weak_reference(self):
        ch = channel()
        r = weakref.ref(ch)
        self.assertIs(r(), ch)
        del ch
        self.assertIsNone(r())

    def test_identity_comparison_and_hash(self):
        a, b = channel(), channel()
        self.assertNotEqual(a, b)
        self.assertEqual(a, a)
        self.assertEqual(len({a, b}), 2)

    def test_read_only_attributes(self):
        ch = channel()
        for name in ("balance", "queue", "closing", "closed"):
            with self.assertRaises(AttributeError):
                setattr(ch, name, getattr(ch, name))
            with self.assertRaises(AttributeError):
                delattr(ch, name)

    def test_preference(self):
        ch = channel()
        for value, sign in ((0, 0), (1, 1), (-1, -1), (17, 1), (-17, -1),
                            (True, 1), (False, 0)):
            ch.preference = value
            self.assertEqual(ch.preference, sign)
        for bad in (None, "1", 1.0):
            with self.assertRaisesRegex(
                    TypeError, "^preference must be set to an integer$"):
                ch.preference = bad
        with self.assertRaises((TypeError, AttributeError)):
            del ch.preference
        self.assertEqual(ch.preference, 0)

    def test_schedule_all(self):
        ch = channel()
        for value, flag in ((1, 1), (0, 0), (True, 1), (5, 1), (False, 0)):
            ch.schedule_all = value
            self.assertEqual(ch.schedule_all, flag)
            self.assertIsInstance(ch.schedule_all, int)
        for bad in (None, "1", 1.0):
            with self.assertRaisesRegex(
                    TypeError, "^preference must be set to a bool or integer$"):
                ch.schedule_all = bad
        with self.assertRaises((TypeError, AttributeError)):
            del ch.schedule_all
        self.assertEqual(ch.schedule_all, 0)

    def test_balance_and_queue(self):
        ch = channel()
        a = self.receiver(ch)
        self.assertEqual(ch.balance, -1)
        self.assertIs(ch.queue, a)
        b = self.receiver(ch)
        self.assertEqual(ch.balance, -2)
        self.assertEqual(waiters(ch), [a, b])
        a.kill()
        self.assertEqual((ch.balance, ch.queue), (-1, b))
        b.kill()
        self.assertEqual((ch.balance, ch.queue), (0, None))
        c = self.sender(ch, 1)
        d = self.sender(ch, 2)
        self.assertEqual(ch.balance, 2)
        self.assertEqual(waiters(ch), [c, d])
        c.kill()
        d.kill()

    def test_wrong_number_of_arguments(self):
        ch = channel()
        with self.unchanged(ch):
            for call in (lambda: ch.send(), lambda: ch.send(1, 2),
                         lambda: ch.receive(1), lambda: ch.close(1),
                         lambda: ch.open(1), lambda: ch.send_sequence(),
                         lambda: ch.send_sequence([], []),
                         lambda: ch.send_throw(),
                         lambda: ch.send_throw(Error, 1, None, 2),
                         lambda: ch.send_throw(exc=Error),
                         lambda: ch.receive(value=1)):
                with self.assertRaises(TypeError):
                    call()


class SendReceive(StacklessTestCase):

    def test_results(self):
        ch = channel()
        log = []

        def sender():
            log.append(ch.send("value"))
        tasklet(sender)()
        self.assertEqual(ch.receive(), "value")
        stackless.run()
        self.assertEqual(log, [None])

    def test_result_of_send_is_none_for_a_waiting_sender(self):
        ch = channel()
        log = []

        def sender():
            log.append(ch.send("value"))
        t = tasklet(sender)()
        t.run()
        ch.receive()
        stackless.run()
        self.assertEqual(log, [None])

    def test_the_object_itself_is_passed(self):
        ch = channel()
        for value in (object(), None, 0, ch, stackless.main, Error, Error()):
            t = self.sender(ch, value)
            self.assertIs(ch.receive(), value)
            t.run()

    def test_first_in_first_out(self):
        ch = channel()
        log = []
        for i in range(3):
            self.sender(ch, i)
        self.assertEqual([ch.receive() for i in range(3)], [0, 1, 2])
        stackless.run()

        def receiver(name):
            log.append((name, ch.receive()))
        for name in "abc":
            tasklet(receiver)(name).run()
        for i in range(3):
            ch.send(i)
        stackless.run()
        self.assertEqual(log, [("a", 0), ("b", 1), ("c", 2)])

    def test_pipeline(self):
        first = ch = channel()

        def stage(left, right):
            while True:
                right.send(left.receive() + 1)
        stages = []
        for i in range(10):
            right = channel()
            stages.append(tasklet(stage)(ch, right))
            ch = right
        for i in range(5):
            tasklet(first.send)(i)
            self.assertEqual(ch.receive(), i + 10)
        stackless.run()
        for t in stages:
            self.assertTrue(t.blocked)
            t.kill()

    def test_the_value_is_released(self):
        class X:
            pass
        ch = channel()

        def sender():
            x = X()
            refs.append(weakref.ref(x))
            ch.send(x)
            del x
            ch.receive()
        refs = []
        t = tasklet(sender)()
        t.run()
        x = ch.receive()
        stackless.run()
        self.assertIsNotNone(refs[0]())
        del x
        self.assertIsNone(refs[0]())
        t.kill()

    def test_a_tempval_set_meanwhile_is_received(self):
        ch = channel()
        log = []
        t = self.receiver(ch, log)
        # Still blocked: the value is for the resumption.
        ch.preference = 0
        ch.send(1)
        self.assertTrue(t.scheduled)
        t.tempval = 2
        stackless.run()
        self.assertEqual(log, [2])

    def test_a_bomb_explodes_at_the_receiver(self):
        ch = channel()
        self.sender(ch, bomb(Error, 5))
        with self.assertRaises(Error) as cm:
            ch.receive()
        self.assertEqual(cm.exception.args, (5,))
        stackless.run()

    def test_a_bomb_explodes_at_a_waiting_receiver(self):
        ch = channel()
        log = []

        def receiver():
            try:
                ch.receive()
            except Error as e:
                log.append(e.args)
        tasklet(receiver)()
        schedule()
        self.assertIsNone(ch.send(bomb(Error, 5)))
        self.assertEqual(log, [(5,)])
        stackless.run()

    def test_many_waiting(self):
        ch = channel()
        log = []

        def receiver():
            log.append(ch.receive())
        for i in range(1000):
            tasklet(receiver)()
        stackless.run()
        self.assertEqual(ch.balance, -1000)
        for i in range(1000):
            ch.send(i)
        self.assertEqual(log, list(range(1000)))
        self.assertEqual(ch.balance, 0)
        stackless.run()


class WaysToCall(StacklessTestCase):
    """Whatever the call looks like, and however often it has been made."""

    TURNS = 50

    def by_attribute(there, back):
        while (value := back.receive()) is not None:
            there.send(value)

    def by_kept_method(there, back):
        send, receive = there.send, back.receive
        while (value := receive()) is not None:
            send(value)

    def by_temporary_method(there, back):
        while (value := getattr(back, "receive")()) is not None:
            getattr(there, "send")(value)

    def by_class(there, back):
        send, receive = channel.send, channel.receive
        while (value := receive(back)) is not None:
            send(there, value)

    def by_method_of_a_method(there, back):
        while (value := types.MethodType(channel.receive, back)()) is not None:
            types.MethodType(there.send, value)()

    def by_map(there, back):
        while (value := next(map(channel.receive, [back]))) is not None:
            next(map(there.send, [value]))

    def by_decorator(there, back):
        value = True
        while value is not None:
            @channel.receive
            @lambda function: back
            def value():
                pass
            if value is not None:
                @there.send
                @lambda function: value
                def nothing():
                    pass

    WAYS = by_attribute, by_kept_method, by_temporary_method, by_class, \
        by_method_of_a_method, by_map, by_decorator

    def test_all(self):
        def ask(log):
            for i in range(self.TURNS):
                there.send(value)
                log.append(back.receive())
            there.send(None)

        for way in self.WAYS:
            for preference in -1, 0, 1:
                with self.subTest(way=way.__name__, preference=preference):
                    there, back = channel(), channel()
                    there.preference = back.preference = preference
                    value, log = object(), []
                    count = sys.getrefcount(value)
                    t = tasklet(way)(back, there)
                    self.run_tasklet(ask, log)
                    self.assertDead(t)
                    self.assertEqual(log, [value] * self.TURNS)
                    log.clear()
                    self.assertEqual(sys.getrefcount(value), count)
                    refs = weakref.ref(there), weakref.ref(back)
                    del there, back
                    self.assertEqual([r() for r in refs], [None, None])

    def test_errors_of_a_kept_method(self):
        def run(ch):
            send, receive = ch.send, ch.receive
            for i in range(self.TURNS):
                for function, args in (send, ()), (send, (1, 2)), (receive, (1,)):
                    try:
                        function(*args)
                    except TypeError as e:
                        log.append(str(e))
                try:
                    send()
                except TypeError as e:
                    log.append(str(e))
        log = []
        self.assertDead(self.run_tasklet(run, channel()))
        no_value = "send() takes exactly one argument (0 given)"
        self.assertEqual(log, [no_value, "send() takes exactly one argument (2 given)",
                               "receive() takes no arguments (1 given)", no_value]
                         * self.TURNS)

    def test_errors_of_a_decorator(self):
        def keep(function):
            kept.append(function)
            return function

        def run(ch):
            for _ in range(self.TURNS):
                with self.assertRaisesRegex(TypeError, "receive.* takes no arguments"):
                    @ch.receive
                    @keep
                    def decorated():
                        pass
                with self.assertRaises(TypeError):
                    @channel.receive
                    @keep
                    def not_a_channel():
                        pass
        kept = []
        ch = channel()
        sender = self.sender(ch, 1)
        self.assertDead(self.run_tasklet(run, ch))
        self.assertEqual((len(kept), ch.balance), (2 * self.TURNS, 1))
        sender.kill()


class Preference(StacklessTestCase):
    """Who runs after an action that finds a partner.

    The queue before it: main, other.
    """

    def send_to(self, ch):
        """Send to a waiting receiver; the queues seen by receiver and main."""
        seen = {}

        def receiver():
            ch.receive()
            seen["receiver"] = runqueue()
        p = tasklet(receiver)()
        p.run()
        other = tasklet(lambda: seen.setdefault("other", runqueue()))()
        ch.send(1)
        seen["main"] = runqueue()
        stackless.run()
        return seen, p, other

    def receive_from(self, ch):
        seen = {}

        def sender():
            ch.send(1)
            seen["sender"] = runqueue()
        p = tasklet(sender)()
        p.run()
        other = tasklet(lambda: seen.setdefault("other", runqueue()))()
        self.assertEqual(ch.receive(), 1)
        seen["main"] = runqueue()
        stackless.run()
        return seen, p, other

    @needs_order
    def test_send_prefers_the_receiver(self):
        main = stackless.main
        seen, p, other = self.send_to(channel())
        # The receiver comes directly after main and runs; then the rest, and
        # main last.
        self.assertEqual(seen["receiver"], [p, other, main])
        self.assertEqual(seen["other"], [other, main])
        self.assertEqual(seen["main"], [main])

    @needs_order
    def test_receive_with_the_default_preference_goes_on(self):
        main = stackless.main
        seen, p, other = self.receive_from(channel())
        self.assertEqual(seen["main"], [main, other, p])
        self.assertEqual(seen["other"], [other, p])
        self.assertEqual(seen["sender"], [p])

    @needs_order
    def test_send_prefers_the_sender(self):
        main = stackless.main
        ch = channel()
        ch.preference = 1
        seen, p, other = self.send_to(ch)
        self.assertEqual(seen["main"], [main, other, p])
        self.assertEqual(seen["other"], [other, p])
        self.assertEqual(seen["receiver"], [p])

    @needs_order
    def test_receive_prefers_the_sender(self):
        main = stackless.main
        ch = channel()
        ch.preference = 1
        seen, p, other = self.receive_from(ch)
        self.assertEqual(seen["sender"], [p, other, main])
        self.assertEqual(seen["other"], [other, main])
        self.assertEqual(seen["main"], [main])

    def test_send_without_preference_goes_on(self):
        main = stackless.main
        ch = channel()
        ch.preference = 0
        seen, p, other = self.send_to(ch)
        self.assertEqual(seen["main"], [main, other, p])

    def test_receive_without_preference_goes_on(self):
        main = stackless.main
        ch = channel()
        ch.preference = 0
        seen, p, other = self.receive_from(ch)
        self.assertEqual(seen["main"], [main, other, p])

    @needs_order
    def test_schedule_all_overrides_every_preference(self):
        main = stackless.main
        for preference in (-1, 0, 1):
            for action, name in ((self.send_to, "receiver"),
                                 (self.receive_from, "sender")):
                with self.subTest(preference=preference, partner=name):
                    ch = channel()
                    ch.preference = preference
                    ch.schedule_all = 1
                    seen, p, other = action(ch)
                    # The partner goes to the end, main's successor runs.
                    self.assertEqual(seen["other"], [other, p, main]
                                     if "main" not in seen else seen["other"])
                    self.assertEqual(seen["other"][0], other)
                    self.assertEqual(seen[name], [p, main])
                    self.assertEqual(seen["main"], [main])

    def test_schedule_all_with_nobody_else(self):
        ch = channel()
        ch.schedule_all = 1
        seen = []

        def receiver():
            ch.receive()
            seen.append(runqueue())
        p = tasklet(receiver)()
        p.run()
        ch.send(1)
        self.assertEqual(seen, [[p, stackless.main]])

    @needs_order
    def test_blocking_lets_the_successor_run(self):
        for preference in (-1, 0, 1):
            for schedule_all in (0, 1):
                ch = channel()
                ch.preference = preference
                ch.schedule_all = schedule_all
                order = []

                def receiver():
                    order.append("receiver")
                    ch.receive()
                t = tasklet(receiver)()
                tasklet(order.append)("other")
                stackless.run()
                self.assertEqual(order, ["receiver", "other"])
                t.kill()

    @needs_order
    def test_waiting_senders_keep_their_turn(self):
        ch = channel()
        order = []

        def sender(i):
            ch.send(i)
            order.append(i)
        for i in range(3):
            tasklet(sender)(i)
        schedule()
        self.assertEqual(ch.balance, 3)
        for i in range(3):
            self.assertEqual(ch.receive(), i)
        self.assertEqual(order, [])
        stackless.run()
        self.assertEqual(order, [0, 1, 2])

    def test_ping_pong_between_tasklets(self):
        a, b = channel(), channel()
        log = []

        def ping():
            for i in range(3):
                a.send(i)
                log.append(b.receive())

        def pong():
            for i in range(3):
                b.send(-a.receive())
        tasklet(ping)()
        tasklet(pong)()
        stackless.run()
        self.assertEqual(log, [0, -1, -2])
        self.assertEqual((a.balance, b.balance), (0, 0))


class Refused(StacklessTestCase):
    """What an action refuses leaves everything as it was."""

    def test_block_trap(self):
        ch = channel()
        t = tasklet(nothing)()
        stackless.current.block_trap = True
        try:
            with self.unchanged(ch, t):
                for call in (ch.receive, lambda: ch.send(1),
                             lambda: ch.send_exception(Error),
                             lambda: ch.send_throw(Error),
                             lambda: ch.send_sequence([1]),
                             lambda: next(ch)):
                    with self.assertRaisesRegex(
                            RuntimeError,
                            r"^this tasklet does not like to be blocked\.$"):
                        call()
        finally:
            stackless.current.block_trap = False
        stackless.run()

    def test_block_trap_comes_before_closing(self):
        ch = channel()
        ch.close()
        stackless.current.block_trap = True
        try:
            with self.assertRaisesRegex(RuntimeError, "blocked"):
                ch.receive()
        finally:
            stackless.current.block_trap = False

    def test_block_trap_does_not_matter_with_a_partner(self):
        ch = channel()
        self.sender(ch, 1)
        stackless.current.block_trap = True
        try:
            self.assertEqual(ch.receive(), 1)
        finally:
            stackless.current.block_trap = False
        stackless.run()

    def test_block_trap_of_a_tasklet(self):
        ch = channel()

        def task():
            stackless.current.block_trap = True
            with self.assertRaises(RuntimeError):
                ch.receive()
            stackless.current.block_trap = False
            ch.receive()
        t = self.run_tasklet(task)
        self.assertTrue(t.blocked)
        t.kill()

    def test_closed(self):
        ch = channel()
        ch.close()
        t = tasklet(nothing)()
        with self.unchanged(ch, t):
            for call in (ch.receive, lambda: ch.send(1),
                         lambda: ch.send_exception(Error),
                         lambda: ch.send_throw(Error),
                         lambda: ch.send_sequence([1])):
                with self.assertRaisesRegex(
                        ValueError,
                        "^Send/receive operation on a closed channel$"):
                    call()
        stackless.run()

    def test_switch_trap_when_it_would_block(self):
        ch = channel()
        t = tasklet(nothing)()
        stackless.switch_trap(1)
        try:
            with self.unchanged(ch, t):
                for call in (ch.receive, lambda: ch.send(1)):
                    with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                        call()
        finally:
            stackless.switch_trap(-1)
        stackless.run()

    def test_switch_trap_when_the_partner_is_preferred(self):
        ch = channel()
        a, b = self.receiver(ch), self.receiver(ch)
        stackless.switch_trap(1)
        try:
            with self.unchanged(ch, a, b):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    ch.send(1)
        finally:
            stackless.switch_trap(-1)
        ch.send(1)
        ch.send(1)

    def test_switch_trap_when_the_sender_is_preferred(self):
        ch = channel()
        ch.preference = 1
        value = object()
        a = self.sender(ch, value)
        b = self.sender(ch, value)
        stackless.switch_trap(1)
        try:
            with self.unchanged(ch, a, b):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    ch.receive()
        finally:
            stackless.switch_trap(-1)
        self.assertIs(ch.receive(), value)
        self.assertIs(ch.receive(), value)
        stackless.run()

    def test_switch_trap_with_schedule_all(self):
        ch = channel()
        ch.schedule_all = 1
        t = self.receiver(ch)
        stackless.switch_trap(1)
        try:
            with self.unchanged(ch, t):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    ch.send(1)
        finally:
            stackless.switch_trap(-1)
        ch.send(1)

    def test_switch_trap_without_a_switch(self):
        ch = channel()
        self.sender(ch, 1)
        stackless.switch_trap(1)
        try:
            self.assertEqual(ch.receive(), 1)
        finally:
            stackless.switch_trap(-1)
        stackless.run()

    def test_a_refused_value_is_released(self):
        class X:
            pass
        x = X()
        r = weakref.ref(x)
        ch = channel()
        ch.close()
        with self.assertRaises(ValueError):
            ch.send(x)
        del x
        gc.collect()
        self.assertIsNone(r())


class Closing(StacklessTestCase):

    def test_close_and_open(self):
        ch = channel()
        self.assertIsNone(ch.close())
        self.assertIs(ch.closing, True)
        self.assertIs(ch.closed, True)
        ch.close()
        self.assertIsNone(ch.open())
        self.assertIs(ch.closing, False)
        self.assertIs(ch.closed, False)
        ch.open()

    def test_closing_but_not_yet_closed(self):
        ch = channel()
        self.sender(ch, 1)
        ch.close()
        self.assertIs(ch.closing, True)
        self.assertIs(ch.closed, False)
        self.assertEqual(ch.receive(), 1)
        self.assertIs(ch.closed, True)
        stackless.run()

    def test_close_wakes_nobody(self):
        ch = channel()
        t = self.receiver(ch)
        ch.close()
        schedule()
        self.assertTrue(t.blocked)
        self.assertIs(ch.closed, False)
        ch.send(1)
        self.assertDead(t)
        self.assertIs(ch.closed, True)

    def test_usable_again_after_open(self):
        ch = channel()
        ch.close()
        ch.open()
        self.sender(ch, 1)
        self.assertEqual(ch.receive(), 1)
        stackless.run()


class SendException(StacklessTestCase):

    def received(self, send, *args):
        """What a waiting receiver gets by the method *send* of a channel."""
        ch = channel()
        log = []

        def receiver():
            try:
                ch.receive()
            except BaseException as e:
                log.append(e)
        t = tasklet(receiver)()
        t.run()
        self.assertIsNone(getattr(ch, send)(*args))
        stackless.run()
        self.assertDead(t)
        # And the other way round: the sender waits.
        t = tasklet(getattr(ch, send))(*args)
        t.run()
        self.assertIsInstance(t.tempval, bomb)
        with self.assertRaises(BaseException) as cm:
            ch.receive()
        stackless.run()
        self.assertIs(type(cm.exception), type(log[0]))
        self.assertEqual(cm.exception.args, log[0].args)
        return log[0]

    def test_class(self):
        e = self.received("send_exception", Error)
        self.assertIs(type(e), Error)
        self.assertEqual(e.args, ())

    def test_arguments(self):
        self.assertEqual(self.received("send_exception", Error, 1, 2).args, (1, 2))

    def test_no_arguments(self):
        with self.assertRaisesRegex(
                TypeError, r"^send_exception\(\) takes at least 1 argument"):
            channel().send_exception()

    def test_not_an_exception_class(self):
        ch = channel()
        t = self.receiver(ch)
        with self.unchanged(ch, t):
            for bad in (1, None, int, Error()):
                with self.assertRaisesRegex(
                        TypeError,
                        "^channel.send_exception needs Exception or string "
                        "subclass as first parameter$"):
                    ch.send_exception(bad)
        t.kill()

    def test_a_string_is_not_an_exception(self):
        ch = channel()
        t = self.receiver(ch)
        with self.unchanged(ch, t):
            with self.assertRaises(TypeError):
                ch.send_exception("x")
            with self.assertRaises(TypeError):
                ch.send_exception(str, 1)
        t.kill()

    def test_throw_class(self):
        self.assertEqual(self.received("send_throw", Error).args, ())

    def test_throw_value(self):
        self.assertEqual(self.received("send_throw", Error, 5).args, (5,))

    def test_throw_tuple(self):
        self.assertEqual(self.received("send_throw", Error, (5, 6)).args, (5, 6))

    def test_throw_instance(self):
        e = Error(5)
        self.assertIs(self.received("send_throw", e), e)

    def test_throw_class_and_instance(self):
        e = Error(5)
        self.assertIs(self.received("send_throw", Error, e), e)

    def test_throw_traceback(self):
        def origin():
            raise Error
        try:
            origin()
        except Error as e:
            tb = e.__traceback__.tb_next
        e = self.received("send_throw", Error, None, tb)
        last = e.__traceback__
        while last.tb_next is not None:
            last = last.tb_next
        self.assertIs(last.tb_frame.f_code, origin.__code__)

    def test_throw_errors(self):
        ch = channel()
        t = self.receiver(ch)
        with self.unchanged(ch, t):
            with self.assertRaisesRegex(
                    TypeError, "^exceptions must be classes, or instances, not int$"):
                ch.send_throw(1)
            with self.assertRaisesRegex(
                    TypeError, "^instance exception may not have a separate value$"):
                ch.send_throw(Error(), 1)
            with self.assertRaisesRegex(
                    TypeError, "^third argument must be a traceback object$"):
                ch.send_throw(Error, None, 1)
        t.kill()

    def test_the_preference_holds_for_exceptions_too(self):
        ch = channel()
        ch.preference = 1
        t = self.receiver(ch)
        ch.send_exception(Error, 1)
        self.assertTrue(t.scheduled)
        self.assertFalse(t.blocked)
        with self.assertRaises(Error):
            stackless.run()
        self.assertDead(t)

    def test_tasklet_exit_ends_the_receiver(self):
        ch = channel()
        t = self.receiver(ch)
        ch.send_exception(TaskletExit)      # noqa: F821 (a builtin here)
        self.assertDead(t)


if __name__ == "__main__":
    unittest.main()
