"""`check_of`: what to look at after an unknown outcome, by what the change did."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cidrgate.values import Action

__all__ = ["LIST", "Check", "check_of"]


class Check(NamedTuple):
    """What to do before a change is made again whose outcome is unknown.

    Attributes:
        text: A sentence without its first capital and its full stop, with `{}` for the command.
        command: The command that shows it; empty without one.
    """

    text: str
    command: str = ""

    def told(self, *, command: bool) -> str:
        """Return the sentence, with the command or without it.

        Example:
            >>> Check("list the tokens{}", "token list").told(command=True)
            'list the tokens (`cidrgate token list`)'
        """
        return self.text.format(f" (`cidrgate {self.command}`)" if command and self.command else "")


LIST = Check("check the list before you try again")
"""For changes of accounts and lists."""

_TOKENS = Check("list the tokens{}, and revoke what should not be there, before you try again", "token list")
_SESSIONS = Check("list the sessions{} before you try again", "session list")
_LOG = Check("read the change log{} first: a repetition also takes what was stored or became old since", "history")

_CHECKS: Mapping[Action, Check] = {
    "set_policy": Check("read the policy{} before you try again", "policy show"),
    "create_token": _TOKENS,
    "revoke_token": _TOKENS,
    "create_link": Check("make another link: nobody has the secret of this one, and it expires"),
    "sign_in": Check("sign in again; a one-time link may be used up"),
    "sign_in_failed": Check("read the change log{}", "history"),
    "end_session": _SESSIONS,
    "end_all_sessions": _SESSIONS,
    "prune": _LOG,
    "erase": _LOG,
}


def check_of(event: Action | None) -> Check:
    """Return what to look at.

    Args:
        event: The event of the transaction; None if it has only changed accounts and lists.
    """
    return LIST if event is None else _CHECKS[event]
