"""What all documents share: the bases of their models, and field types."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

VERSION = 1

# Words for a line of a batch script: what sbatch(1) takes there, and nothing that could start a second word.
PARTITION = r"^[A-Za-z0-9_][A-Za-z0-9_.,+-]*$"
NODELIST = r"^[A-Za-z0-9_][A-Za-z0-9_.,\[\]-]*$"
TIME = r"^([0-9]{1,6}(:[0-9]{1,2}){0,2}|[0-9]{1,4}-[0-9]{1,2}(:[0-9]{1,2}){0,2}|(?i:unlimited|infinite))$"
MEMORY = r"^[0-9]{1,9}(\.[0-9]{1,3})? ?[KMGTkmgt]?[Bb]?$"
HOST = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$"
PATH = r"^[^\x00-\x1f\x7f]+$"
ORIGIN = r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$|^https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?$"
# Without TLS only on this machine: whoever changes the answer on its way decides who logs in.
KEYCLOAK_URL = r"^(https://[A-Za-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?(/[A-Za-z0-9_.~-]+)*/?$"
LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
# One address of e-mail, without a name beside it; nothing that could end a header or begin another address.
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = rf"{LABEL}(\.{LABEL}){{0,20}}"
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}"
ADDRESS = rf"^{ATOM}(\.{ATOM}){{0,20}}@{DOMAIN}$"
REPORT_URL = r"^https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9._~/-]*)?$"
HOOK = r"^https://hooks\.slack\.com/services/\S+$"
VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _to_word(value: Any) -> Any:
    """Return a bare number as the text that sbatch takes for it.

    Minutes or megabytes.
    """
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Word = Annotated[str, BeforeValidator(_to_word)]


def require_form(pattern: str, most_chars: int, form: str) -> AfterValidator:
    """Require text of the pattern; `form` says to people what that is.

    By Python's `re`: pydantic's expressions unfold repetitions within each other, and take up to a megabyte each.
    """

    def check_form(text: str) -> str:
        if len(text) > most_chars or not re.fullmatch(pattern, text):
            raise ValueError(f"must be {form}")
        return text

    return AfterValidator(check_form)


Origin = Annotated[str, require_form(ORIGIN, 255, "an origin such as http://localhost:3000: nothing after the port")]
KeycloakUrl = Annotated[
    str, require_form(KEYCLOAK_URL, 1000, "a URL such as https://sso.example.org; http:// only on this machine")
]
ReportUrl = Annotated[str, require_form(REPORT_URL, 1000, "a URL such as http://login1:8000")]
OneLine = Annotated[str, Field(pattern=LINE, max_length=4096)]
Value = Annotated[Word, Field(pattern=r"^[^\x00]*$", max_length=32_768)]


class UserFileModel(BaseModel):
    """A part of a file that people write.

    Unknown keys are errors, and no value is converted to another type.
    """

    model_config = ConfigDict(extra="forbid", strict=True)


class ServerFileModel(BaseModel):
    """A part of a file that the server writes: unknown keys are kept."""

    model_config = ConfigDict(extra="allow")
