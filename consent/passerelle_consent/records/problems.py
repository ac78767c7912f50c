"""Every way a request can be refused: RFC 9457 problem details. Pure; the words never quote the request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MEDIA_TYPE = "application/problem+json"
_URN = "urn:passerelle:problem:"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemType:
    """One kind of refusal: its status, its name within the URN, and its title."""

    slug: str
    status: int
    title: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """RFC 9457 §3.1.1: the problem's identifier."""
        return _URN + self.slug


class Problem(Exception):
    """A request is refused and nothing was changed. ``more`` holds extension members (RFC 9457 §3.2)."""

    def __init__(
        self, kind: ProblemType, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(kind.slug)
        self.kind = kind
        self.detail = detail
        self.headers = {**kind.headers, **(headers or {})}
        self.more = more

    def document(self, request_id: str) -> dict[str, Any]:
        """Return the problem details; ``instance`` is the request's own id, since a path holds a pseudonym."""
        body = {"type": self.kind.uri, "title": self.kind.title, "status": self.kind.status}
        if self.detail:
            body["detail"] = self.detail
        return {**body, "instance": f"urn:uuid:{request_id}", **self.more}


_BEARER = {"WWW-Authenticate": "Bearer"}


def _token(slug: str, title: str) -> ProblemType:
    """One reason to refuse a token (RFC 6750 §3.1); the description is within the characters that §3 allows."""
    challenge = f'Bearer error="invalid_token", error_description="{title}"'
    return ProblemType(slug=slug, status=401, title=title, headers={"WWW-Authenticate": challenge})


# Seconds that a client waits before it comes back: the queue ahead of it drains in about one.
_LATER = {"Retry-After": "1"}

MALFORMED_JSON = ProblemType(slug="malformed-json", status=400, title="The body is not JSON.")
UNKNOWN_MEMBER = ProblemType(slug="unknown-member", status=422, title="The body has members that are not documented.")
MEDIA_TYPE_UNKNOWN = ProblemType(slug="unsupported-media-type", status=415, title="The body must be application/json.")
MALFORMED = ProblemType(slug="malformed-request", status=422, title="The request is not of the documented form.")
UNAUTHENTICATED = ProblemType(slug="unauthenticated", status=401, title="A bearer token is needed.", headers=_BEARER)
TOKEN_MALFORMED = _token("token-malformed", "This is no access token of the documented form.")
TOKEN_ALGORITHM = _token("token-algorithm", "Tokens are signed with EdDSA, ES256 or RS256.")
TOKEN_ISSUER = _token("token-of-another-issuer", "This token is of another issuer.")
TOKEN_KEY = _token("token-of-unknown-key", "The issuer has no such key.")
TOKEN_SIGNATURE = _token("token-signature", "The signature is not of the key that the token names.")
TOKEN_AUDIENCE = _token("token-for-another-audience", "This token is for another service.")
TOKEN_EXPIRED = _token("token-expired", "This token has expired.")
TOKEN_NOT_YET = _token("token-not-yet-valid", "This token is not valid yet: is the clock right?")
TOKEN_CLAIMS = _token("token-claims", "The claims do not say whom this token speaks for.")
TOKEN_PROBLEMS = (
    TOKEN_MALFORMED,
    TOKEN_ALGORITHM,
    TOKEN_ISSUER,
    TOKEN_KEY,
    TOKEN_SIGNATURE,
    TOKEN_AUDIENCE,
    TOKEN_EXPIRED,
    TOKEN_NOT_YET,
    TOKEN_CLAIMS,
)
INSUFFICIENT_SCOPE = ProblemType(slug="insufficient-scope", status=403, title="This needs another scope.")
NOT_YOURS = ProblemType(slug="not-your-pseudonym", status=403, title="A citizen speaks on their own pseudonym.")
NOT_GUARDIAN = ProblemType(slug="not-guardian", status=403, title="No guardianship of this subject is on record.")
GUARDIANSHIP_OVER = ProblemType(
    slug="guardianship-not-valid", status=403, title="The guardianship on record has not begun, or is over."
)
CANNOT_SPEAK = ProblemType(slug="cannot-speak", status=403, title="By the law it is for somebody else to say this.")
NOT_THE_SOURCE = ProblemType(slug="not-the-source", status=403, title="This is for the agreement's source to do.")
NOT_A_REGISTRAR = ProblemType(
    slug="not-a-registrar", status=403, title="Guardians are recorded by the departments that the city names for it."
)
NOT_THE_RECIPIENT = ProblemType(
    slug="not-the-recipient", status=403, title="No flow of that name delivers to this department."
)
NOT_ITS_LETTER = ProblemType(
    slug="not-its-letter", status=403, title="A department settles its own dead letters; others are an operator's."
)
OWN_OVERRIDE = ProblemType(slug="own-override", status=403, title="An override is reviewed by another officer.")
NOT_A_CITIZEN = ProblemType(slug="not-a-citizen", status=403, title="An office is nobody's self: name a pseudonym.")
DEPARTMENT_NEEDED = ProblemType(
    slug="department-needed", status=403, title="A pseudonym is a department's: the token must name one."
)
MANDATE_NEEDED = ProblemType(
    slug="mandate-needed", status=403, title="An auditor reads about a person under a mandate: name it."
)
NOT_FOUND = ProblemType(slug="not-found", status=404, title="There is nothing here.")
UNKNOWN_SUBJECT = ProblemType(slug="unknown-subject", status=404, title="Nobody linked the subject of this pseudonym.")
UNKNOWN_AGREEMENT = ProblemType(slug="unknown-agreement", status=404, title="There is no such agreement.")
UNKNOWN_ACKNOWLEDGEMENT = ProblemType(
    slug="unknown-acknowledgement", status=404, title="There is no such acknowledgement."
)
UNKNOWN_DECISION = ProblemType(
    slug="unknown-decision", status=404, title="The published log has no such entry about this subject."
)
NO_ENTRIES = ProblemType(slug="no-entries", status=404, title="The ledger has no entry about this subject yet.")
UNKNOWN_ENTRY = ProblemType(slug="unknown-entry", status=404, title="The published log has no such entry.")
UNKNOWN_GUARDIAN = ProblemType(slug="unknown-guardian", status=404, title="Nobody linked this guardian.")
UNKNOWN_GUARDIANSHIP = ProblemType(slug="unknown-guardianship", status=404, title="There is no such guardianship.")
UNKNOWN_OBJECTION = ProblemType(slug="unknown-objection", status=404, title="There is no such objection.")
UNKNOWN_OVERRIDE = ProblemType(slug="unknown-override", status=404, title="There is no such override.")
UNKNOWN_NOTICE = ProblemType(slug="unknown-notice", status=404, title="There is no such notice.")
UNKNOWN_CONSULTATION = ProblemType(slug="unknown-consultation", status=404, title="There is no such consultation.")
UNKNOWN_CHANGE = ProblemType(slug="unknown-change", status=404, title="Nothing of that id was said.")
NO_RECEIPT = ProblemType(slug="no-receipt", status=404, title="A receipt is about an agreement: this change is not.")
UNKNOWN_VERSION = ProblemType(slug="unknown-version", status=404, title="There is no such version of this agreement.")
NO_RESULT = ProblemType(slug="no-result", status=404, title="This consultation has no result yet.")
UNKNOWN_ARGUMENT = ProblemType(slug="unknown-argument", status=404, title="There is no such argument.")
UNKNOWN_ERASURE = ProblemType(slug="unknown-erasure", status=404, title="This department was told of no such erasure.")
METHOD_NOT_ALLOWED = ProblemType(slug="method-not-allowed", status=405, title="This method is not served here.")
BODY_TOO_SLOW = ProblemType(slug="body-too-slow", status=408, title="The body did not arrive in time.")
ILLEGAL_TRANSITION = ProblemType(
    slug="illegal-transition", status=409, title="This does not follow from the current state."
)
WRONG_BASIS = ProblemType(
    slug="wrong-basis", status=409, title="The agreement's lawful basis does not know this action."
)
STALE_NOTICE = ProblemType(
    slug="stale-notice", status=409, title="The notice named is not the one in force: show the current one."
)
ERASURE_UNDER_WAY = ProblemType(
    slug="erasure-under-way", status=409, title="A subject is being erased: link again when it is done.", headers=_LATER
)
NOT_VITAL_INTERESTS = ProblemType(
    slug="not-vital-interests",
    status=409,
    title="An override opens agreements that rest on vital interests (6-1-d), all of one recipient.",
)
NOT_IN_FORCE = ProblemType(slug="agreement-not-in-force", status=409, title="The agreement is not in force.")
WRONG_RELATION = ProblemType(slug="wrong-relation", status=409, title="A subject of this class has no such guardian.")
TOO_MANY_GUARDIANS = ProblemType(slug="too-many-guardians", status=409, title="This subject has as many as are kept.")
NO_MINOR = ProblemType(slug="no-minor", status=409, title="This subject is no minor.")
OBJECTION_ANSWERED = ProblemType(slug="objection-answered", status=409, title="This objection was answered.")
REVIEWED_ALREADY = ProblemType(slug="reviewed-already", status=409, title="This override was reviewed.")
RESTRICTED_ALREADY = ProblemType(slug="restricted-already", status=409, title="This subject is under a restriction.")
NOT_RESTRICTED = ProblemType(slug="not-restricted", status=409, title="This subject is under no restriction.")
LIFTING_NOT_ANNOUNCED = ProblemType(
    slug="lifting-not-announced", status=409, title="The citizen is told seven days before (GDPR Art. 18(3))."
)
CONSULTATION_PUBLISHED = ProblemType(
    slug="consultation-published", status=409, title="A published consultation is not edited: take another id."
)
CONSULTATION_NOT_OPEN = ProblemType(
    slug="consultation-not-open", status=409, title="This consultation hears no voices now."
)
CONSULTATION_STILL_OPEN = ProblemType(
    slug="consultation-still-open", status=409, title="A consultation is answered once it is over."
)
CONSULTATION_ANSWERED = ProblemType(
    slug="consultation-answered", status=409, title="This consultation was answered: its result stands."
)
ENOUGH_ARGUMENTS = ProblemType(
    slug="enough-arguments", status=409, title="This consultation takes no more arguments; it still hears voices."
)
CONSULTATION_IN_THE_PAST = ProblemType(
    slug="consultation-in-the-past", status=422, title="A consultation opens after it is published."
)
BAD_DRAFT = ProblemType(slug="bad-draft", status=422, title="The draft is no agreement that could be published.")
STALE_ETAG = ProblemType(
    slug="stale-etag", status=412, title="The standing is not the one of this If-Match: look at it again."
)
RATE_LIMITED = ProblemType(slug="rate-limited", status=429, title="Too many requests of this caller.", headers=_LATER)
TOO_MANY_ENTRIES = ProblemType(
    slug="too-many-entries",
    status=422,
    title="That is more than is exported at once: ask for fewer, or export from the log's files.",
)
FORMAT_UNAVAILABLE = ProblemType(
    slug="format-unavailable", status=501, title="This service was installed without that format."
)
UNKNOWN_PARAMETER = ProblemType(slug="unknown-parameter", status=422, title="There is no such query parameter.")
CURSOR_OF_ANOTHER_QUERY = ProblemType(
    slug="cursor-of-another-query", status=422, title="This cursor is of another query: begin anew without it."
)
TOO_LONG_A_TIME = ProblemType(
    slug="too-long-a-time", status=422, title="That is too much to count: take a shorter time, or longer parts of it."
)
BAD_CURSOR = ProblemType(slug="bad-cursor", status=422, title="This cursor is not one of this list.")
OWN_GUARDIAN = ProblemType(slug="own-guardian", status=422, title="Nobody is their own guardian.")
GROUND_NEEDED = ProblemType(
    slug="ground-needed", status=422, title="To resume takes a compelling ground and its law; to uphold takes neither."
)
BODY_TOO_LARGE = ProblemType(slug="body-too-large", status=413, title="The body is too large.")
GUARDIAN_NEEDED = ProblemType(
    slug="guardian-needed", status=422, title="Name the guardian who stands at the counter, and only then."
)
SPEAKER = ProblemType(slug="speaker-is-known", status=422, title="The token says who speaks: leave it out.")
KEY_REUSED = ProblemType(
    slug="idempotency-key-reused", status=422, title="This Idempotency-Key was used for another request."
)
INTERNAL = ProblemType(slug="internal", status=500, title="The service failed; its operator can see why.")
ISSUER_UNAVAILABLE = ProblemType(
    slug="issuer-unavailable", status=503, title="The issuer's keys cannot be had: try again.", headers=_LATER
)
LEDGER_UNAVAILABLE = ProblemType(
    slug="ledger-unavailable", status=503, title="The ledger cannot be read now: try again.", headers=_LATER
)
OVERLOADED = ProblemType(slug="overloaded", status=503, title="Too much at once: try again.", headers=_LATER)
STORE_UNAVAILABLE = ProblemType(
    slug="store-unavailable", status=503, title="The store did not take it: nothing was changed.", headers=_LATER
)
NOT_READY = ProblemType(slug="not-ready", status=503, title="The service is not ready.", headers=_LATER)
