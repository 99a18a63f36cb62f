"""Numbers as people write them."""


def thousands(n: float) -> str:
    """1234567 -> 1 234 567, with thin spaces that do not break."""
    return f"{n:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def duration(seconds: float) -> str:
    """Two units at most: `0.42 s`, `12 s`, `3 min 20 s`, `5 h 12 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
