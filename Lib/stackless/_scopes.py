"""What is cancelled together: time limits, shields, and groups of tasklets."""

from __future__ import annotations

from _stackless import Cancelled, channel, scope

TYPE_CHECKING = False                  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Callable, Self

    from stackless import tasklet


class move_on_after(scope):
    """A block that is left when its time is over.

        with stackless.move_on_after(1) as scope:
            value = channel.receive()
        if scope.cancelled:
            value = None

    Whoever waits within the block, for whatever, gets Cancelled when the time is over or
    cancel() is called, and so does whoever waits later on: tasklets that never wait are not
    disturbed.  The block swallows it.

    seconds: how long; None: until cancel() is called.  shield: what is cancelled around it
    does not matter within.  grace: for so many seconds longer who has got Cancelled may wait,
    to clean up.
    """

    def __enter__(self) -> Self:
        self._enter()
        return self

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> bool:
        self._exit()
        return isinstance(exc, Cancelled) and exc.scope is self


class timeout(move_on_after):
    """The same; if its time is over, the block ends with TimeoutError."""

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> bool:
        swallow = super().__exit__(kind, exc, traceback)
        if swallow and self.expired:
            raise TimeoutError("the time of the block is over") from exc
        return swallow


class shield(move_on_after):
    """A block within which it does not matter what is cancelled around it."""

    def __init__(self) -> None:
        super().__init__(None, shield=True)


class group(scope):
    """Tasklets that end together.

        with stackless.group() as g:
            for url in urls:
                g.spawn(fetch, url)
        print(g.results)

    The block ends when all of them have ended.  If one fails, or the block does, the others
    are cancelled, and an ExceptionGroup of what went wrong is raised; an exception of the
    block alone is raised as it is.  cancel() cancels all, and the block ends.

    limit: how many run at the same time; spawn() waits then.
    policy: "all", as described; "first": the first result cancels the others, and failures
    count only if there is none; "collect": a failure cancels nobody, and is found in errors.
    results: what each returned, in the order of spawn(), or None.  errors: what they raised.
    """

    def __init__(self, *, limit: int | None = None, policy: str = "all",
                 shield: bool = False, grace: float | None = None) -> None:
        super().__init__(None, shield=shield, grace=grace)
        if policy not in ("all", "first", "collect"):
            raise ValueError(f"policy must be 'all', 'first' or 'collect', not {policy!r}")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit!r}")
        self._results: list[Any] = []
        self._errors: list[BaseException] = []
        self._limit = limit
        self._policy = policy
        self._done = False             # with policy "first": there is a result
        self._is_open = False
        self._outer: Cancelled | None = None
        self._slot = channel()
        self._slot.preference = 1
        self._all_ended = channel()
        self._all_ended.preference = 1

    @property
    def results(self) -> list[Any]:
        """What each has returned, in the order of spawn(); None for those that have not."""
        return self._results

    @property
    def errors(self) -> list[BaseException]:
        """What the members have raised."""
        return self._errors

    def __enter__(self) -> Self:
        self._enter()
        self._begin(self._results, self._policy == "first" or self._limit is not None)
        self._is_open = True
        return self

    def spawn(self, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> tasklet:
        """Let a new tasklet run function(*args, **kwargs), in a copy of the caller's Context.

        Returns the tasklet.  If there are `limit` already, wait first.  RuntimeError outside
        of the block.
        """
        waited = False
        try:
            while self._limit is not None and self._running >= self._limit:
                waited = True
                self._slot.receive()
            if not self._is_open:
                raise RuntimeError("a group can be used only within its block")
            return self._spawn(function, args, kwargs)
        except BaseException:
            # The place for which it was woken is the next one's.
            if waited and self._running < self._limit and self._slot.balance < 0:
                self._slot.send(None)
            raise

    def _ended(self, exc: BaseException | None) -> None:
        # Called in a member that has ended, and cannot switch; if it returned, or was cancelled
        # by the group, not always.  Its result is in the list.
        if exc is None:
            if self._policy == "first" and not self._done:
                self._done = True
                self.cancel("there is a result")
        elif isinstance(exc, Cancelled):
            if exc.scope is not self:
                self._outer = exc
        elif not isinstance(exc, TaskletExit):
            self._errors.append(exc)
            if self._policy == "all":
                self.cancel(exc)
        if self._slot.balance < 0:
            self._slot.send(None)
        if not self._running and self._all_ended.balance < 0:
            self._all_ended.send(None)

    def _wait(self) -> BaseException | None:
        # What comes meanwhile, as TaskletExit or a deadlock.
        interruption = None
        while self._running:
            try:
                with shield():
                    self._all_ended.receive()
            except BaseException as e:
                if interruption is not None:
                    raise
                interruption = e
                self.cancel(e)
        return interruption

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> bool:
        if exc is not None:
            self.cancel(exc)
        try:
            interruption = self._wait()
        finally:
            self._is_open = False
            self._exit()
        cancelled = isinstance(exc, Cancelled) and exc.scope is self
        if interruption is not None:
            raise interruption
        errors = self._errors
        if self._policy == "collect" or self._done:
            errors = []
        if exc is not None and not cancelled:
            if not errors or not isinstance(exc, Exception):
                return False
            errors = [*errors, exc]
        if errors:
            raise BaseExceptionGroup("tasklets of a group failed", errors)
        if self._outer is not None:
            raise self._outer
        return cancelled
