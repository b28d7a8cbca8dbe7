"""Long texts of others, such as logs: the beginning says what they are, the end says what happened."""


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many letters, which lacks its middle when it was longer."""
    if len(text) <= most:
        return text
    begin, between = most // 4, " … "
    return f"{text[:begin]}{between}{text[begin + len(between) - most :]}"
