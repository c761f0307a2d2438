"""cffi: Python functions called from C."""
import cffi

ffi = cffi.FFI()
ffi.cdef("void qsort(void *, size_t, size_t, int (*)(const void *, const void *));")
libc = ffi.dlopen(None)


@ffi.callback("int(const void *, const void *)")
def compare(a, b):
    x, y = ffi.cast("int *", a)[0], ffi.cast("int *", b)[0]
    return (x > y) - (x < y)


numbers = ffi.new("int[]", [5, 3, 9, 1])
libc.qsort(numbers, 4, ffi.sizeof("int"), compare)
assert list(numbers) == [1, 3, 5, 9]
