// An OpenID provider for development: citizens sign in with a name alone, offices' systems with a secret. Not for a real
// city, whose manifest names its own (`identity.jwks_uri`).
//
//   npm install && node provider.mjs city.json
//
// city.json: { "port": 8480, "audiences": ["https://lutece.example/consent"],
//   "clients": [{ "client_id": "tax", "client_secret": "…", "scopes": ["officer"], "department": "tax" },
//               { "client_id": "portal", "client_secret": "…", "scopes": ["citizen"], "redirect_uris": ["…"] }],
//   "people": { "marie": { "department": "citizen-desk", "pseudonym": "…32 hexadecimal digits…" } } }
//
// A client with redirect_uris signs people in (authorization code, PKCE); one without speaks for itself (client
// credentials). Which service a token is for is asked by `resource` (RFC 8707). Tokens are JWTs (RFC 9068), signed with
// a key of this run: who starts it anew signs in anew.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Provider, errors } from 'oidc-provider';

const ALGORITHM = 'ES256';
const SCOPES = ['openid', 'citizen', 'guardian', 'department', 'officer', 'auditor', 'operator'];
const TOKEN_SECONDS = 900;

const city = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const departments = new Map(city.clients.map((client) => [client.client_id, client.department]));

const registered = ({ client_id, client_secret, scopes, redirect_uris }) => ({
  client_id,
  client_secret,
  scope: ['openid', ...scopes].join(' '),
  redirect_uris: redirect_uris ?? [],
  response_types: redirect_uris ? ['code'] : [],
  grant_types: redirect_uris ? ['authorization_code'] : ['client_credentials'],
});

const resourceServer = (_context, audience, client) => {
  if (!city.audiences.includes(audience)) throw new errors.InvalidTarget();
  return {
    audience,
    scope: client.scope,
    accessTokenFormat: 'jwt',
    accessTokenTTL: TOKEN_SECONDS,
    jwt: { sign: { alg: ALGORITHM } },
  };
};

// Whose pseudonyms a token uses: a person's own, or those of the client's department.
const extra = (_context, token) => token.accountId
  ? city.people[token.accountId]
  : { department: departments.get(token.clientId) };

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: ALGORITHM, kid: `${Date.now()}` };

const server = createServer();
server.listen(city.port ?? 0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: city.clients.map(registered),
    clientDefaults: { id_token_signed_response_alg: ALGORITHM },
    jwks: { keys: [key] },
    scopes: SCOPES,
    cookies: { keys: [generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }).d] },
    findAccount: (_context, sub) => city.people[sub] && { accountId: sub, claims: () => ({ sub }) },
    extraTokenClaims: extra,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => city.audiences[0],
        useGrantedResource: () => true,
        getResourceServerInfo: resourceServer,
      },
    },
  });
  server.on('request', provider.callback());
  console.log(JSON.stringify({ issuer, jwks_uri: `${issuer}/jwks` }));
});
