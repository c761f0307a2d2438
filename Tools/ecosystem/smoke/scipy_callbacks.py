"""SciPy: greenlets that take turns within callbacks, which SciPy finds by pointers to its C stack."""
import greenlet
from scipy import integrate, optimize

COUNT = 4
main = greenlet.getcurrent()
switch = main.switch


def quad(n):
    return round(integrate.quad(lambda x: (switch(), x * n)[1], 0, 1, limit=5)[0], 3)


def fsolve(n):
    return round(float(optimize.fsolve(lambda p: (switch(), p - n)[1], [0.])[0]), 3)


def leastsq(n):
    return round(float(optimize.leastsq(lambda p: (switch(), [p[0] - n, p[0] - n])[1], [0.])[0][0]), 3)


def dblquad(n):
    return round(integrate.dblquad(lambda y, x: (switch() if x > .4 else None, n * x * y)[1], 0, 1, 0, 1,
                                   epsabs=1e-2, epsrel=1e-2)[0], 3)


def in_turns(work):
    """work(0), work(1), ... with a switch at each callback; results by number."""
    greenlets = [greenlet.greenlet(work) for _ in range(COUNT)]
    results = {}
    arguments = [(n,) for n in range(COUNT)]
    while len(results) < COUNT:
        for n, g in enumerate(greenlets):
            if not g.dead:
                value = g.switch(*arguments[n])
                arguments[n] = ()
                if g.dead:
                    results[n] = value
    return [results[n] for n in range(COUNT)]


for work in quad, fsolve, leastsq, dblquad:
    switch = main.switch
    got = in_turns(work)
    switch = int                       # does nothing
    expected = [work(n) for n in range(COUNT)]
    assert got == expected, (work.__name__, got, expected)
