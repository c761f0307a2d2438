"""list.sort() and sorted() with a key function, whose tasklet can be left softly.

What they do is what they do in main, however often the key function switches.
"""

from __future__ import annotations

import functools
import gc
import random
import sys
import unittest
import weakref
from operator import itemgetter

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase


class Error(Exception):
    pass


def outcome(f, *args):
    try:
        return f(*args)
    except Exception as e:
        return type(e), str(e)


class Same(StacklessTestCase):
    """In a tasklet and in main."""

    def check(self, f):
        """f(wait) calls wait() where the tasklet is to be suspended."""
        expected = outcome(f, lambda: None)
        levels = []
        results = []

        def wait():
            levels.append(stackless.current.nesting_level)
            schedule()
        for i in range(2):
            tasklet(lambda: results.append(outcome(f, wait)))()
        stackless.run()
        self.assertEqual(results, [expected] * 2)
        return levels

    def check_soft(self, f):
        self.assertEqual(set(self.check(f)), {0})

    def test_random_lists(self):
        rng = random.Random(1)
        for length in [0, 1, 2, 3, 63, 64, 65, 127, 128, 129, 1000]:
            items = [(rng.randrange(1 + length // 2), i) for i in range(length)]
            for reverse in (False, True, 0, 2):
                def by_sort(wait):
                    def key(item):
                        wait()
                        return item[0]
                    copy = items.copy()
                    self.assertIsNone(copy.sort(key=key, reverse=reverse))
                    return copy

                def by_sorted(wait):
                    def key(item):
                        wait()
                        return item[0]
                    return sorted(iter(items), reverse=reverse, key=key)
                self.check(by_sort)
                self.check(by_sorted)

    def test_all_kinds_of_keys(self):
        class Key:
            def __init__(self, wait, item):
                wait()
                self.item = item

            def __lt__(self, other):
                return self.item > other.item

        class Callable:
            def __init__(self, wait):
                self.wait = wait

            def __call__(self, item):
                self.wait()
                return -item

            def method(self, item):
                return self(item)
        for make in [lambda wait: functools.partial(Key, wait), Callable,
                     lambda wait: Callable(wait).method,
                     lambda wait: lambda item, *args: wait() or (item % 2, item)]:
            with self.subTest(make=make):
                self.check_soft(lambda wait: sorted(range(5), key=make(wait)))
        self.check(lambda wait: sorted([(2, 1), (1, 2)], key=itemgetter(1)))

    def test_arguments(self):
        class Truth:
            def __init__(self, wait):
                self.wait = wait

            def __bool__(self):
                self.wait()
                return True

        class Name(str):
            pass

        def key(item):
            return -item
        for call in [lambda wait: sorted([1, 2], key=None),
                     lambda wait: sorted([1, 2], key=None, reverse=True),
                     lambda wait: sorted([1, 2], key=1),
                     lambda wait: sorted([], key=1),
                     lambda wait: sorted(key=key),
                     lambda wait: sorted(None, key=key),
                     lambda wait: sorted([1, 2], key=key, reverse="no"),
                     lambda wait: sorted([1, 2], key=key, reverse=""),
                     lambda wait: sorted([1, 2], key=key, reverse=None),
                     lambda wait: sorted([1, 2], key=key, reverse=1 << 70),
                     lambda wait: sorted([1, 2], key=key, reverse=Truth(wait)),
                     lambda wait: sorted([1, 2], key=key, cmp=None),
                     lambda wait: sorted([1, 2], 3, key=key),
                     lambda wait: sorted([1, 2], **{"key": key}),
                     lambda wait: sorted(*[[1, 2]], **{"key": key, "reverse": True}),
                     lambda wait: sorted([1, 2], **{Name("key"): key}),
                     lambda wait: [2, 1].sort(3, key=key),
                     lambda wait: [2, 1].sort(key=lambda: 3),
                     lambda wait: list.sort(key=key),
                     lambda wait: list.sort((1, 2), key=key),
                     lambda wait: functools.partial(sorted, key=key)([1, 2])]:
            self.check(call)

    def test_subclass(self):
        class List(list):
            def sort(self, *args, **kwargs):
                raise AssertionError("sorted() calls list's")

        def f(wait):
            items = List([2, 1, 3])
            list.sort(items, key=lambda item: wait() or item)
            return items, sorted(items, key=lambda item: wait() or -item)
        self.check_soft(f)

    def test_iterable(self):
        def generator(wait):
            yield 2
            wait()
            yield 1
            if wait() is not None:
                raise Error("no end")
        self.check(lambda wait: sorted(generator(wait), key=lambda item: wait() or item))

    def test_iterable_that_fails(self):
        def generator():
            yield 2
            raise Error("no more")
        self.check(lambda wait: sorted(generator(), key=lambda item: item))

    def test_looks_empty(self):
        def f(wait):
            seen = []

            def key(item):
                wait()
                seen.append((list(items), len(items)))
                return item
            items = [3, 1, 2]
            items.sort(key=key)
            return seen, items
        self.check_soft(f)

    def test_sorted_meanwhile(self):
        def f(wait):
            def inner(item):
                raise AssertionError("there are no items")

            def key(item):
                wait()
                items.sort(key=inner)
                return item
            items = [3, 1, 2]
            items.sort(key=key)
            return items
        self.check_soft(f)

    def test_modified(self):
        def clear(items):
            items.append(1)
            items.clear()
        for change in (lambda items: items.append(1), clear,
                       lambda items: items.extend(range(100)),
                       lambda items: items.__init__([1])):
            def f(wait):
                def key(item):
                    wait()
                    change(items)
                    return item
                items = [3, 1, 2]
                result = outcome(lambda: items.sort(key=key))
                return result, items
            self.check_soft(f)

    def test_modified_by_the_death_of_keys(self):
        for limit in (5, 3):                   # of 5 items, for one of which the key fails
            def f(wait):
                items = [4, 1, 3, 0, 2]

                class Key:
                    def __init__(self, item):
                        wait()
                        if item >= limit:
                            raise Error(item)

                    def __lt__(self, other):
                        return False

                    def __del__(self):
                        items.append(1)
                items.sort(key=Key)
            self.check_soft(f)
        self.assertEqual(outcome(f, lambda: None), (Error, "4"))

    def test_modified_and_failed(self):
        def f(wait):
            def key(item):
                wait()
                items.append(item)
                if item == 2:
                    raise Error("2")
                return item
            items = [3, 1, 2]
            return outcome(lambda: items.sort(key=key)), items
        self.check_soft(f)

    def test_key_that_fails(self):
        for bad in range(3):
            def f(wait):
                def key(item):
                    wait()
                    return 1 / (item - bad)
                items = [2, 0, 1]
                return outcome(lambda: items.sort(key=key)), items
            self.check_soft(f)

    def test_comparison_that_fails(self):
        def f(wait):
            def key(item):
                wait()
                return item
            items = [3, 2, "a", 1, 0]
            return outcome(lambda: items.sort(key=key)), items
        self.check_soft(f)

    def test_comparison_that_waits(self):
        class Key:
            def __init__(self, wait, item):
                self.wait = wait
                self.item = item

            def __lt__(self, other):
                self.wait()
                return self.item < other.item
        levels = self.check(lambda wait: sorted("hjkasdf", key=lambda item: Key(wait, item)))
        self.assertNotIn(0, levels)

    def test_within_each_other(self):
        def f(wait):
            def key(item):
                return sorted(item, key=lambda x: wait() or -x)
            items = [[1, 2], [0, 3], [2, 1, 0]]
            items.sort(key=key)
            return items
        self.check_soft(f)

    def test_deep_recursion(self):
        def f(wait):
            def key(item):
                return sorted([item], key=key)
            return outcome(lambda: sorted([1], key=key))[0]
        self.check(f)


class Left(StacklessTestCase):
    """A tasklet that does not get to the end of it."""

    def start(self, items):
        def key(item):
            if item == 1:
                schedule_remove()
            return item
        t = tasklet(lambda: items.sort(key=key))()
        t.run()
        self.assertEqual(items, [])
        return t

    def test_killed(self):
        items = [3, 1, 2]
        self.start(items).kill()
        self.assertEqual(items, [3, 1, 2])

    def test_dropped(self):
        items = [3, 1, 2]
        t = self.start(items)
        self.assertEqual(t.nesting_level, 0)
        del t
        gc.collect()
        self.assertEqual(items, [3, 1, 2])

    def test_dropped_after_a_change(self):
        items = [3, 1, 2]
        t = self.start(items)
        items.append(4)
        del t
        gc.collect()
        self.assertEqual(items, [3, 1, 2])

    def test_collected_with_the_list(self):
        class Item:
            pass
        items = [1, Item()]
        items[1].items = items
        gone = weakref.ref(items[1])
        t = self.start(items)
        gone().tasklet = t
        del items, t
        gc.collect()
        self.assertIsNone(gone())

    def test_what_the_collector_sees(self):
        """The lists of items and keys are within reach of gc.get_referrers()."""
        class Item:
            pass

        def fill(found):
            if len(found) < 100:
                found.extend([0] * 10)

        for change in (list.clear, list.pop, fill):
            item = Item()

            def key(x):
                for found in gc.get_referrers(item):
                    if type(found) is list and found is not items:
                        change(found)
                schedule()
                return 1
            items = [item, Item(), item]
            t = tasklet(lambda: outcome(lambda: items.sort(key=key)))()
            stackless.run()
            self.assertFalse(t.alive)
            self.assertIn(len(items), range(200))

    def test_traceback(self):
        def key(item):
            raise Error

        def task():
            try:
                sorted([1], key=key)
            except Error as e:
                names.append(e.__traceback__.tb_next.tb_frame.f_code.co_name)
                names.append(e.__traceback__.tb_next.tb_next)
        names = []
        tasklet(task)()
        stackless.run()
        self.assertEqual(names, ["key", None])

    def test_frames(self):
        def key(item):
            frame = sys._getframe()
            names.append((frame.f_code.co_name, frame.f_back.f_code.co_name))

        def task():
            sorted([1], key=key)
        names = []
        tasklet(task)()
        stackless.run()
        self.assertEqual(names, [("key", "task")])


class ChildOfAThread(ChildTestCase):

    def test_of_an_ended_thread(self):
        output = self.run_ok("""
            import gc, stackless, threading

            def key(item):
                if item == 1:
                    stackless.schedule_remove()
                return item

            def thread():
                t = stackless.tasklet(lambda: items.sort(key=key))()
                t.run()
                kept.append(t)
            items, kept = [3, 1, 2], []
            started = threading.Thread(target=thread)
            started.start()
            started.join()
            kept.clear()
            gc.collect()
            print(items)
            """)
        self.assertEqual(output, "[3, 1, 2]\n")


if __name__ == "__main__":
    unittest.main()
