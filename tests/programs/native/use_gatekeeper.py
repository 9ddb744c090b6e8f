"""Uses the extension."""

import gatekeeper

from cidrgate import Matcher


def main() -> None:
    """Count, for an account and for one that nobody created."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2606:4700::/32"])
    log = "8.8.8.8\n9.9.9.9\n2606:4700::1\nnowhere\n"
    print(gatekeeper.count_allowed(matcher, "acct-1", log), gatekeeper.count_allowed(matcher, "acct-2", log))


if __name__ == "__main__":
    main()
