"""MUNGE credentials: whose they are, as unmunge(1) says.

munged takes each credential once, within its time to live (300 s as a rule).
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass

from slurm_shim.errors import ClusterUnreachable
from slurm_shim.programs import build_user_environment, run_program

PROGRAM = "unmunge"
CREDENTIAL = re.compile(r"MUNGE:[A-Za-z0-9+/]{20,60000}={0,2}:")
UID = re.compile(r"^UID:\s+(?:\S+ \()?([0-9]{1,10})\)?$", re.MULTILINE)
# Exit statuses of unmunge that say something about the credential, with what to tell; see munge.h.
REFUSALS = {
    8: "it is not one of this cluster, or damaged",
    9: "it is of another version of MUNGE",
    10: "it uses a cipher that is not known here",
    11: "it uses a digest that is not known here",
    12: "it is compressed in a way that is not known here",
    13: "it is of another realm",
    14: "it was made with another key, or changed",
    15: "it has expired",
    16: "it was made in the future: the clocks of the two machines differ",
    17: "it was used before",
    18: "it is meant for somebody else",
}
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Identity:
    """Whose a credential is; or, without a uid, why it is refused."""

    uid: int | None
    problem: str = ""


def decode_credential(credential: str, socket: str | None = None, timeout_s: float = TIMEOUT_S) -> Identity:
    """Ask munged whose the credential is; it counts as used then. Blocking.

    `socket` is where munged listens, None its usual place. Raises ClusterUnreachable when munged does not answer.
    """
    if not CREDENTIAL.fullmatch(credential):
        return Identity(None, _explain("it has not the form of one"))
    program = shutil.which(PROGRAM)
    if program is None:
        return Identity(None, "MUNGE is not installed here")
    where = [] if socket is None else [f"--socket={socket}"]
    argv = [PROGRAM, "--numeric", "--keys=UID", "--output=/dev/null", "--metadata=-", *where]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **build_user_environment()}
    done = run_program(program, argv, environment, credential.encode(), timeout_s, by_shell=True)
    found = UID.search(done.out.decode("utf-8", "replace"))
    if done.exit_code == 0 and found is not None:
        return Identity(int(found[1]))
    if done.exit_code in REFUSALS:
        return Identity(None, _explain(REFUSALS[done.exit_code]))
    said = done.err.decode("utf-8", "replace").strip().removeprefix("unmunge: ") or "no answer in time"
    raise ClusterUnreachable(PROGRAM, f"munged does not answer: {said[-300:]}")


def _explain(why: str) -> str:
    return f"The MUNGE credential does not count: {why}"
