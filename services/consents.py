"""Take back what a user has allowed a client (RFC 6749 §1.4, RFC 7009 §1)."""

import store.codes
import store.consents
import store.tokens
import store.users
from protocol import parameters


def withdraw(user_id: int, client_id: str) -> bool:
    """End the consent of a user to a client, then the codes, then the tokens; return False for none.

    An exchange of a code that is under way is waited for, and its token ends too.
    """
    store.users.lock(user_id)
    if not parameters.VISIBLE.fullmatch(client_id) or not store.consents.withdraw(user_id, client_id):
        return False
    store.codes.delete_pending(user_id, client_id)
    store.tokens.revoke_of_user(user_id, client_id)
    return True
