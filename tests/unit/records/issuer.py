"""An issuer of access tokens for tests: right ones, and each kind of wrong one."""

import json

from joserfc import jwt
from joserfc.jwk import OKPKey

ISSUER = "https://id.test"
AUDIENCE = "https://consent.test"
KEY = OKPKey.generate_key("Ed25519")
OTHER_KEY = OKPKey.generate_key("Ed25519")
JWKS = json.dumps({"keys": [{**KEY.as_dict(private=False), "kid": "k-1"}]}).encode()


def claims(now_ms, scope, department=None, pseudonym=None, **other):
    """What a good token says."""
    now_s = now_ms // 1000
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": f"{scope} {department} {pseudonym}",
        "client_id": "portal",
        "jti": "1",
        "iat": now_s,
        "exp": now_s + 900,
        "scope": scope,
        "department": department,
        "pseudonym": pseudonym,
        **other,
    }
    return {name: value for name, value in said.items() if value is not None}


def sign(said, *, key=KEY, alg="Ed25519", **header):
    header = {"alg": alg, "kid": "k-1", "typ": "at+jwt", **header}
    return jwt.encode({n: v for n, v in header.items() if v is not None}, said, key, algorithms=[alg])
