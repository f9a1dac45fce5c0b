"""Logins with a name and a password, and the tokens in their cookies.

A login has an access token, which lets in, and one to refresh it (both JWT by HS256). They count as long as the user's
file has the login, so that it ends at once where he logs out, is removed or gets another password.
"""

from __future__ import annotations

import email.utils
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from store.access.cookies import list_cookies
from store.access.tokens import Caller, hash_token
from store.access.yaptide.users import Login, Source, User
from store.errors import Denied

Use = Literal["access", "refresh"]
ACCESS_S, REFRESH_S, KEYCLOAK_S = 600, 7200, 1800
# What the cookies are called, which clients of YAPTIDE know.
COOKIES: dict[Use, str] = {"access": "access_token", "refresh": "refresh_token"}
NAMES = {use: re.compile(name) for use, name in COOKIES.items()}
# What the client is to do where a token does not count.
ADVICE: dict[Use, str] = {"access": "Refresh access token.", "refresh": "Log in again."}
ALGORITHM, PURPOSE = "HS256", b"login of a user"
CLAIMS = ("iat", "exp", "sub", "sid", "use", "pw")
# More than any of ours has: nothing longer is worth taking apart.
TOKEN_CHARS = 2000
SCOPES = frozenset({"read", "write"})
# Kinds of callers: users of Keycloak have names of their own, which may be those of local users too.
KINDS: dict[Source, str] = {"local": "yaptide", "keycloak": "keycloak"}


class LoginEnded(Denied):
    """The cookie does not count, or no more; the text says what to do."""


class IssuedToken(NamedTuple):
    """A token and when it ends (epoch seconds)."""

    text: str
    ends_s: float


class Logins:
    """Reads and makes the tokens of logins.

    `find_user` gives the user with an id as the store has him now, `get_key` the key of the store that tokens are
    signed with (None: none yet). `now` is for tests.
    """

    def __init__(
        self,
        find_user: Callable[[str], User | None],
        get_key: Callable[[], bytes | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.find_user, self.get_key, self.now = find_user, get_key, now

    def begin(self, lifetime_s: float) -> Login:
        """Make a login that is to be added to its user."""
        return Login(id=secrets.token_hex(16), ends_s=int(self.now()) + lifetime_s)

    def issue(self, key: bytes, user: User, login: Login, use: Use, lifetime_s: float) -> IssuedToken:
        """Issue a token of a login, which does not outlive it."""
        import jwt  # here, since it brings a library along that takes longer to import than all of ours

        began_s = int(self.now())
        ends_s = int(min(began_s + lifetime_s, login.ends_s))
        claims = {
            "iat": began_s,
            "exp": ends_s,
            "sub": user.id,
            "sid": login.id,
            "use": use,
            "pw": _name_password(user),
        }
        return IssuedToken(jwt.encode(claims, _make_key(key), algorithm=ALGORITHM), ends_s)

    def find_caller(self, headers: Mapping[bytes, bytes], use: Use) -> Caller | None:
        """Return who has logged in; None where no cookie is sent.

        Raises LoginEnded.
        """
        found = self.find_login(headers, use)
        return None if found is None else Caller(found[0].username, SCOPES, KINDS[found[0].source])

    def find_login(self, headers: Mapping[bytes, bytes], use: Use) -> tuple[User, Login] | None:
        """Return the user and the login of the cookie; None without one.

        The first that counts of several. Raises LoginEnded.
        """
        problem: LoginEnded | None = None
        for token in list_cookies(headers.items(), NAMES[use]):
            try:
                return self._read_token(token, use)
            except LoginEnded as wrong:
                problem = problem or wrong
        if problem is not None:
            raise problem
        return None

    def _read_token(self, token: str, use: Use) -> tuple[User, Login]:
        invalid = LoginEnded(f"{ADVICE[use]} Invalid token.")
        key = self.get_key()
        claims = None if key is None or len(token) > TOKEN_CHARS else _read_claims(key, token)
        if claims is None or claims["use"] != use or type(claims["exp"]) is not int:
            raise invalid
        if claims["exp"] <= self.now():
            raise LoginEnded(f"{ADVICE[use]} Signature expired.")
        user = self.find_user(str(claims["sub"]))
        if user is None:
            raise LoginEnded("User not found")
        login = next((login for login in user.logins if login.id == claims["sid"]), None)
        if login is None or login.ends_s <= self.now() or claims["pw"] != _name_password(user):
            raise invalid
        return user, login


def format_cookie(use: Use, token: IssuedToken | None, path: str, is_secure: bool) -> str:
    """Format the header that sets a cookie; without a token it is removed."""
    text, ends_s = token or ("", 0)
    ends = email.utils.formatdate(ends_s, usegmt=True)
    secure = "; Secure" if is_secure else ""
    return f"{COOKIES[use]}={text}; Path={path or '/'}; Expires={ends}; HttpOnly; SameSite=Lax{secure}"


def _read_claims(key: bytes, token: str) -> Mapping[str, Any] | None:
    """Return what the token says, if it was signed with the key."""
    import jwt

    options: Any = {"require": list(CLAIMS), "verify_exp": False, "verify_iat": False}
    try:
        claims: dict[str, Any] = jwt.decode(token, _make_key(key), algorithms=[ALGORITHM], options=options)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return None
    return claims


def _make_key(key: bytes) -> bytes:
    """Make the key that signs tokens of logins, and no others of ours."""
    return hmac.digest(key, PURPOSE, "sha256")


def _name_password(user: User) -> str:
    """Name a user's password; another one ends what was issued before."""
    return hash_token(user.password_hash or "")[:16]
