"""Which request is refused, reset or left hanging. Drawn anew at each try, so that a retry can succeed."""

from typing import Literal

from api.oracle.chance import Chance
from api.oracle.settings import Faults

TransportFault = Literal["rate_limited", "server_error", "reset", "hang"]


def transport_fault(faults: Faults, chance: Chance, turn: int, attempt: int) -> TransportFault | None:
    """`attempt` counts this conversation's requests for this turn, from 1."""
    left = chance.draw("transport", turn, attempt)
    shares: list[tuple[TransportFault, float]] = [
        ("rate_limited", faults.rate_limited),
        ("server_error", faults.server_error),
        ("reset", faults.reset),
        ("hang", faults.hang),
    ]
    for name, share in shares:
        if left < share:
            return name
        left -= share
    return None
