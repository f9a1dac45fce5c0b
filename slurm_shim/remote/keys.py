"""Key files: what would make ssh ignore one without a word."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

_PUBLIC = (b"ssh-", b"ecdsa-", b"sk-")
_MAGIC = b"openssh-key-v1\0"
_MOST_BYTES = 100_000


def find_key_problem(key_filename: str) -> str:
    """Find why ssh would not even try the key; "" when it would.

    Where a public key is named, an agent has to have the other half.
    """
    path = Path(key_filename).expanduser()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return f"key_filename {key_filename} is not a file: name the private key"
        data = _read_key(path)
    except OSError as problem:
        return f"key_filename {key_filename} cannot be read: {problem.strerror} (check it on the server's machine)"
    if b"PRIVATE KEY" not in data:
        return "" if data.startswith(_PUBLIC) else f"key_filename {key_filename} holds no key that OpenSSH reads"
    # sshkey_perm_ok() in OpenSSH's authfile.c looks only at files of its own user.
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        return f"key_filename {key_filename} may be read by others, so ssh ignores it: chmod 600 {key_filename}"
    return ""


def explain_refused_key(key_filename: str) -> str:
    """Explain why a key that can be read was of no use; "" if unknown."""
    try:
        data = _read_key(Path(key_filename).expanduser())
    except OSError:
        return ""
    if data.startswith(_PUBLIC):
        return f"{key_filename} is a public key, and no agent has its private one: name the private one"
    if is_encrypted(data):
        return f"{key_filename} needs a passphrase, and no agent has it: ssh-add it where the server starts"
    return ""


def is_encrypted(data: bytes) -> bool:
    """Tell whether a private key needs a passphrase."""
    if b"ENCRYPTED" in data:  # PEM and PKCS#8
        return True
    body = b"".join(line for line in data.split(b"\n") if not line.startswith(b"-----"))
    try:
        whole = base64.b64decode(body)
    except binascii.Error:
        return False
    # PROTOCOL.key of OpenSSH: the magic word, then the cipher's name as a string.
    return whole.startswith(_MAGIC) and not whole[len(_MAGIC) :].startswith(b"\0\0\0\4none")


def _read_key(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)
