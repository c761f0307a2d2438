"""Two serializers, one in Cython and one in Rust, with Python callbacks."""
import msgpack
import orjson

value = {"a": [1, 2.5, None, True, "text"], "b": {"c": list(range(100))}}
assert msgpack.unpackb(msgpack.packb(value)) == value
assert msgpack.unpackb(msgpack.packb({1, 2}, default=sorted)) == [1, 2]
assert orjson.loads(orjson.dumps(value)) == value
assert orjson.loads(orjson.dumps({"x": 1j}, default=lambda x: x.imag)) == {"x": 1.0}
