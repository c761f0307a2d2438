"""A greenlet whose switches can be made to fail, for tests of what follows then."""

import os

from _greenlet import greenlet


class _Flag:
    """An attribute that is a bool and cannot be deleted."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return instance.__dict__.get(self.name, False)

    def __set__(self, instance, value):
        instance.__dict__[self.name] = bool(value)

    def __delete__(self, instance):
        raise AttributeError(f"Cannot delete {self.name}")


class UnswitchableGreenlet(greenlet):
    """A greenlet that refuses to be switched to.

    force_switch_error: switch() and throw() raise SystemError, and change nothing.
    force_slp_switch_error: they abort the process, as a switch that fails half-way would.
    """

    force_switch_error = _Flag()
    force_slp_switch_error = _Flag()

    def _check(self):
        if self.force_slp_switch_error:
            os.abort()
        if self.force_switch_error:
            raise SystemError("Failed to switch stacks into a running greenlet." if self else
                              "Failed to switch stacks into a greenlet for the first time.")

    def switch(self, *args, **kwargs):
        self._check()
        return super().switch(*args, **kwargs)

    def throw(self, *args):
        self._check()
        return super().throw(*args)
