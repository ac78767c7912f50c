"""The same words in the two languages of the city."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _said(words: str) -> str:
    if not words.strip():
        raise ValueError("says nothing")
    return words


Words = Annotated[str, Field(min_length=1), AfterValidator(_said)]


class Text(BaseModel):
    """What people read: French, which is the source, and English."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    fr: Words
    en: Words
