"""sbatch's options that change nothing on this cluster.

There are no switches, burst buffers, CPU frequencies, mail programs here. Such an option is refused where sbatch
refuses its value, and `scontrol show job` shows it as it does on a real cluster.
"""

# A long list of words reads better as a text.
# ruff: noqa: SIM905

from __future__ import annotations

import os
import sys

from .. import times, units
from ..states import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[str], dict[str, str]]

LIMITS = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS"
FREQUENCY = r"(low|medium|high|highm1|\d+)"
GPU_FREQUENCY = rf"(verbose|(memory=)?{FREQUENCY})"
METER = "(task|energy|network|filesystem)"
PROFILE = "(all|none|energy|task|lustre|network)"
MEMORY_BINDING = "(q|quiet|v|verbose|p|prefer|sort|nosort|no|none|rank|local|(map|mask)_mem:[^:]+)"
GOVERNOR = r"(conservative|ondemand|performance|powersave|schedutil|userspace)"
# What a value must look like (in any case), and what sbatch says when it does not; always with exit status 255.
FORMS = {
    "acctg-freq": (rf"(({METER}=)?\d+(,{METER}=\d+)*)?", "Invalid --acctg-freq specification: {}"),
    "cpu-freq": (
        rf"({FREQUENCY}(-{FREQUENCY})?(:{GOVERNOR})?|{GOVERNOR})(,.*)?",
        'unrecognized --cpu-freq argument "{}"\nInvalid --cpu-freq argument',
    ),
    "distribution": (
        r"(block|cyclic|arbitrary|\*)(:(block|cyclic|fcyclic|\*)){0,2}(,(no)?pack)?|plane=\d+|(no)?pack",
        "Invalid --distribution specification",
    ),
    "get-user-env": (r"-?\d*[sl]?", "Invalid --get-user-env specification"),
    "gpu-bind": (
        r"(verbose,)?(closest|none|(map_gpu|mask_gpu|single|per_task):.+)",
        "Invalid --gpu-bind argument: gpu:{}",
    ),
    "gpu-freq": (rf"{GPU_FREQUENCY}(,{GPU_FREQUENCY})*", "Invalid --gpu-freq argument: gpu:{}"),
    "gres-flags": (r"disable-binding|enforce-binding", "Invalid --gres-flags specification"),
    "mem-bind": (rf"{MEMORY_BINDING}(,{MEMORY_BINDING})*", 'unrecognized --mem-bind argument "{}"'),
    "no-kill": (r"|no|off", "Invalid --no-kill specification"),
    "profile": (rf"{PROFILE}(,{PROFILE})*", "invalid --profile={} option"),
}
# Where `scontrol show job` shows the value itself.
SHOWN = {
    "bb": "BurstBuffer", "cluster-constraint": "ClusterFeatures", "container": "Container", "network": "Network",
    "wckey": "WCKey",
}  # fmt: skip
SWITCHED_ON = {"contiguous": ("Contiguous", "1"), "spread-job": ("SpreadJob", "Yes"), "reboot": ("Reboot", "1")}
HINTS = {
    "compute_bound": {"threads": "1"}, "memory_bound": {"cores": "1", "threads": "1"}, "multithread": {},
    "nomultithread": {"threads": "1"},
}  # fmt: skip
MAIL_TYPES = """ARRAY_TASKS INVALID_DEPEND BEGIN END FAIL REQUEUE STAGE_OUT TIME_LIMIT_50 TIME_LIMIT_80 TIME_LIMIT_90
TIME_LIMIT""".split()
ALL_MAIL = MAIL_TYPES[1:7]
LONGEST_SWITCH_WAIT_S = 300  # max_switch_wait of slurm.conf(5)


def make_refusal(*lines: str, code: int = 255) -> Refused:
    """Make a refusal of sbatch itself, before it asks the controller."""
    return Refused([f"sbatch: error: {line}" for line in lines], code)


def parse_number(name: str, text: str, least: int = 1) -> int:
    """Parse a number that an option takes. Refused with sbatch's text."""
    digits = text.strip().removeprefix("+")
    if not units.is_number(digits) or int(digits) < least or len(digits) > 9:
        raise make_refusal(f'Invalid numeric value "{text}" for {name}.', code=1)
    return int(digits)


def check_option(name: str, value: str) -> dict[str, str]:
    """Check an option's value; return what `scontrol show job` shows of it.

    Names in small letters are not fields of their own but parts of some.
    """
    if name in SHOWN:
        return {SHOWN[name]: value.replace("\n", " ")}
    if name in SWITCHED_ON:
        return dict([SWITCHED_ON[name]])
    if name in FORMS:
        import re  # which takes longer to load than all the rest of most submissions

        form, complaint = FORMS[name]
        if not re.fullmatch(form, value, re.IGNORECASE):
            raise make_refusal(*complaint.format(value).split("\n"))
    return CHECKS[name](value) if name in CHECKS else {}


def _check_numbers(name: str, field: str) -> Check:
    return lambda value: {field: str(parse_number(f"--{name}", value))}


def _check_switches(value: str) -> dict[str, str]:
    count, _, wait = value.partition("@")
    try:
        wait_s = (times.parse_limit_min(wait) or 0) * 60 or LONGEST_SWITCH_WAIT_S
    except ValueError:
        wait_s = LONGEST_SWITCH_WAIT_S
    number = parse_number("--switches", count)
    return {"Switches": f"{number}@{times.format_full(min(wait_s, LONGEST_SWITCH_WAIT_S))}"}


def _check_shape(value: str) -> dict[str, str]:
    """Check -B: sockets, cores of each, threads of each."""
    parts = zip(("first", "second", "third"), ("sockets", "cores", "threads"), value.split(":"), strict=False)
    return {
        field: str(parse_number(f"{order} arg of -B", part.partition("-")[0]))
        for order, field, part in parts
        if part != "*"
    }


def _check_hint(value: str) -> dict[str, str]:
    words = value.lower().split(",")
    if "help" in words:
        print("Application hint options:\n    " + "\n    ".join(HINTS))
        raise Refused([], 1)
    if any(word not in HINTS for word in words):
        raise make_refusal(f'unrecognized --hint argument "{value}", see --hint=help', code=1)
    return {field: limit for word in words for field, limit in HINTS[word].items()}


def check_mail_type(value: str, earlier: str) -> str:
    """Check a --mail-type; return its words with those of earlier ones.

    NONE takes back only what stands beside it.
    """
    words = [word for word in value.upper().split(",") if word]
    if not words or any(word not in (*MAIL_TYPES, "ALL", "NONE") for word in words):
        raise make_refusal("Invalid --mail-type specification")
    chosen = set() if "NONE" in words else {*words, *(ALL_MAIL if "ALL" in words else ())}
    return ",".join(word for word in MAIL_TYPES if word in chosen.union(earlier.split(",")))


def _check_propagate(value: str) -> dict[str, str]:
    for word in value.split(",") if value not in ("", "ALL", "NONE") else ():
        if word.removeprefix("RLIMIT_") not in LIMITS.split():
            raise make_refusal(f"Bad rlimit name: {word}", f"--propagate={value} is not valid.", code=1)
    return {}


def _check_power(value: str) -> dict[str, str]:
    words = value.split(",") if value else []
    for word in words:
        if word.lower() != "level":
            print(f"sbatch: error: Ignoring unrecognized power option ({value})\n" * 2, end="", file=sys.stderr)
    return {"Power": "LEVEL"} if "level" in value.lower().split(",") else {}


def _check_specialized(option: str, name: str) -> Check:
    def check(value: str) -> dict[str, str]:
        parse_number(name, value, 0)
        why = "since it's not allowed by configuration (AllowSpecResourcesUsage = No)"
        print(f"sbatch: error: Ignoring {option} {why}", file=sys.stderr)
        return {}

    return check


def _check_waiting(value: str) -> dict[str, str]:
    if parse_number("--wait-all-nodes", value, 0) > 1:
        raise make_refusal("Invalid --wait-all-nodes specification")
    return {}


def _check_boot_delay(value: str) -> dict[str, str]:
    try:
        return {"DelayBoot": times.format_full((times.parse_limit_min(value) or 0) * 60)}
    except ValueError as error:
        raise make_refusal("Invalid --delay-boot specification") from error


def _check_file(value: str) -> dict[str, str]:
    if not os.access(value, os.R_OK):
        raise make_refusal("Invalid --bbf specification", code=1)
    return {}


CHECKS: dict[str, Check] = {
    "bbf": _check_file,
    "core-spec": _check_specialized("-S", "--core-spec"),
    "cores-per-socket": _check_numbers("cores-per-socket", "cores"),
    "delay-boot": _check_boot_delay,
    "extra-node-info": _check_shape,
    "gpu-bind": lambda value: {"TresBind": f"gpu:{value}"},
    "gpu-freq": lambda value: {"TresFreq": f"gpu:{value}"},
    "gres-flags": lambda value: {"GresEnforceBind": "Yes" if value.lower().startswith("e") else "No"},
    "hint": _check_hint,
    "mail-user": lambda value: {"MailUser": value},
    "ntasks-per-core": _check_numbers("ntasks-per-core", "per_core"),
    "ntasks-per-socket": _check_numbers("ntasks-per-socket", "per_socket"),
    "oversubscribe": lambda _: {"OverSubscribe": "YES"},
    "power": _check_power,
    "propagate": _check_propagate,
    "sockets-per-node": _check_numbers("sockets-per-node", "sockets"),
    "switches": _check_switches,
    "thread-spec": _check_specialized("--thread-spec", "--thread-spec"),
    "threads-per-core": _check_numbers("threads-per-core", "threads"),
    "wait-all-nodes": _check_waiting,
}
# These say nothing at all here.
SILENT = ("context", "ignore-pbs", "mcs-label", "overcommit", "use-min-nodes", "verbose")
NAMES = frozenset((*FORMS, *SHOWN, *SWITCHED_ON, *CHECKS, *SILENT))
