"""Who may come in: registering, signing in and out, passwords. What a tenant owns is not here."""

from actions.identity.passwords import change_password, request_password_reset, reset_password
from actions.identity.registration import finish_registrations, register
from actions.identity.sign_in import login, logout, revoke_access_token
from actions.identity.tokens import SignedIn

__all__ = [
    "SignedIn",
    "change_password",
    "finish_registrations",
    "login",
    "logout",
    "register",
    "request_password_reset",
    "reset_password",
    "revoke_access_token",
]
