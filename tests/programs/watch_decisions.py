"""A hook that counts decisions, with the protocols that type checkers know."""

from collections import Counter

from cidrgate import Gate, Matcher, Verdict
from cidrgate.gate import AllowedCounter, DecisionHook, VerdictReason


class Counts:
    """Counts decisions by reason; allowed requests without a verdict."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.seconds = 0.0

    def __call__(self, verdict: Verdict, /) -> None:
        """Count a decision."""
        self.reasons[verdict.reason] += 1
        self.seconds += verdict.seconds

    def count_allowed(self, account: str, reason: VerdictReason, seconds: float, /) -> None:
        """Count an allowed request, for which no verdict was made."""
        self.reasons[reason] += 1
        self.seconds += seconds


def denied(verdict: Verdict, /) -> None:
    """Tell about a denial."""
    if not verdict:
        print(f"{verdict.client.address} may not act for {verdict.account}: {verdict.reason}")


def main() -> None:
    """Ask a gate with both hooks."""
    counts = Counts()
    counter: AllowedCounter = counts
    hooks: list[DecisionHook] = [counter, denied]
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    gate = Gate(matcher, unlisted="deny_unknown", log="none", hooks=hooks)
    for address in ("8.8.8.8", "9.9.9.9", "8.8.8.9"):
        gate.decide("acct-1", address)
    gate.decide("acct-2", "8.8.8.8")
    print(dict(counts.reasons), counts.seconds > 0)


if __name__ == "__main__":
    main()
