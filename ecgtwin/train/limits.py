"""Types of the numbers in a model's configuration, with limits far beyond any sensible model: a tampered one must not
keep a machine busy for ever."""

from typing import Annotated

from pydantic import Field

Size = Annotated[int, Field(ge=1, le=65_536)]
Count = Annotated[int, Field(ge=0, le=200)]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Samples = Annotated[int, Field(ge=1, le=10_000_000)]
Widths = Annotated[tuple[Size, ...], Field(min_length=1, max_length=16)]
Levels = Annotated[tuple[Count, ...], Field(max_length=16)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
