"""pydantic (Rust): validators written in Python are called back from its core."""
from pydantic import BaseModel, ValidationError, field_validator


class Model(BaseModel):
    n: int
    names: list[str] = []

    @field_validator("n")
    @classmethod
    def positive(cls, value):
        if value < 0:
            raise ValueError("negative")
        return value


assert Model.model_validate_json('{"n": "5", "names": ["x"]}').n == 5
try:
    Model(n=-1)
except ValidationError as error:
    assert "negative" in str(error)
else:
    raise AssertionError("no error")
assert Model(n=1).model_dump() == {"n": 1, "names": []}
