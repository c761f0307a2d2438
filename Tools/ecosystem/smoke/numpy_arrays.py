"""NumPy, with Python callbacks and threads."""
import threading

import numpy as np

a = np.arange(12.0).reshape(3, 4)
assert (a @ a.T).shape == (3, 3)
assert np.allclose(np.linalg.inv(np.eye(3) * 2), np.eye(3) / 2)
assert np.vectorize(lambda x: x * 2)(a).sum() == 2 * a.sum()
assert np.apply_along_axis(sum, 0, a).tolist() == a.sum(axis=0).tolist()
assert np.frompyfunc(lambda x, y: x + y, 2, 1).reduce(np.arange(10, dtype=object)) == 45
assert sorted(np.random.default_rng(1).permutation(100)) == list(range(100))
assert abs(np.fft.ifft(np.fft.fft(a[0])) - a[0]).max() < 1e-12
results = []
threads = [threading.Thread(target=lambda: results.append(float(np.ones((200, 200)).sum()))) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert results == [40000.0] * 4
try:
    import stackless
except ImportError:
    pass
else:
    # Switching within a callback of NumPy's.
    log = []

    def callback(x):
        stackless.schedule()
        log.append(int(x))
        return x

    for _ in range(2):
        stackless.tasklet(lambda: np.frompyfunc(callback, 1, 1)(np.arange(3)))()
    stackless.run()
    assert log == [0, 0, 1, 1, 2, 2], log
