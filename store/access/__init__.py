"""Who may call: tokens, scopes, origins, limits and local callers."""

from store.access.callers import Callers, find_missing_token, name_caller
from store.access.credentials import (
    OPEN,
    Credential,
    Facts,
    Requirement,
    Unauthenticated,
    WrongCredentials,
    admit_caller,
    check_basic,
    check_bearer,
    check_own_user,
    compile_security,
    require_admin,
)
from store.access.limits import name_client
from store.access.origins import (
    LOOPBACK_NAMES,
    check_doubles,
    check_host,
    check_origin,
    is_loopback,
    is_navigation,
)
from store.access.tokens import INCLUDED, Access, Caller, describe_token, make_token, parse_access, read_access

__all__ = [
    "INCLUDED",
    "LOOPBACK_NAMES",
    "OPEN",
    "Access",
    "Caller",
    "Callers",
    "Credential",
    "Facts",
    "Requirement",
    "Unauthenticated",
    "WrongCredentials",
    "admit_caller",
    "check_basic",
    "check_bearer",
    "check_doubles",
    "check_host",
    "check_origin",
    "check_own_user",
    "compile_security",
    "describe_token",
    "find_missing_token",
    "is_loopback",
    "is_navigation",
    "make_token",
    "name_caller",
    "name_client",
    "parse_access",
    "read_access",
    "require_admin",
]
