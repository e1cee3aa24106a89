"""`flask logout-notices …`: which clients were told that a session has ended, and which were not
(Back-Channel Logout 1.0).
"""

import click

import store.logout_notices
from commands.output import CommandGroup, Result, listed
from services import users
from store.logout_notices import ReceiptRow

notices = CommandGroup("logout-notices", help="Notices of logout, and whether clients took them.")

COLUMNS = (
    "client_name",
    "email",
    "created_at",
    "attempts",
    "state",
    "next_attempt_at",
    "delivered_at",
    "outcome",
)


@notices.command("list", takes_every_tenant=True)
@click.option("--user", "email", metavar="EMAIL", help="Those about this person.")
@click.option(
    "--undelivered", is_flag=True, help="Those that no client has taken: they wait, or were given up."
)
def list_(email: str | None, undelivered: bool) -> Result:
    """List the newest notices, the newest first."""
    if email is None:
        found = store.logout_notices.all_recent(undelivered=undelivered)
    else:
        of_user = store.logout_notices.of_user(users.find(email).id)
        found = [notice for notice in of_user if notice.delivered_at is None or not undelivered]
    shown = [public_members(notice) for notice in found]
    return listed(shown, COLUMNS)


def public_members(notice: ReceiptRow) -> dict[str, object]:
    """Return what is shown of a notice."""
    return {
        "client_id": notice.client_id,
        "client_name": notice.client_name,
        "email": notice.email,  # None: the person was removed
        "sid": notice.sid,
        "created_at": notice.created_at,
        "attempts": notice.attempts,
        "state": store.logout_notices.state_of(notice),
        "next_attempt_at": notice.next_attempt_at,
        "delivered_at": notice.delivered_at,
        "outcome": notice.outcome,
    }
