"""Each line with a comment is one that type checkers are to refuse; never run."""
from __future__ import annotations

import greenlet
import stackless

numbers = stackless.channel[int]()
numbers.send("one")                              # wrong
word: str = numbers.receive()                    # wrong
numbers.balance = 3                              # wrong
stackless.run("1000")                            # wrong
stackless.run(nothing=1)                         # wrong
stackless.sleep("1")                             # wrong
stackless.tasklet(3)                             # wrong
stackless.tasklet(print, args=[1])               # wrong
stackless.current.alive = False                  # wrong
stackless.set_clock(len)                         # wrong
greenlet.greenlet(print, parent=3)               # wrong
greenlet.settrace(print, 1)                      # wrong
