// An OpenID provider for development: it plays FranceConnect (v2) for citizens and the city's own directory for its
// people, who sign in by choosing a name; offices' systems have a secret. Not for a real city: whoever reaches it may be
// anybody that it knows.
//
//   npm install && node provider.mjs city.json
//
// city.json: { "port": 8480, "audiences": ["https://lutece.example/consent"],
//   "clients": [{ "client_id": "tax", "client_secret": "…", "scopes": ["officer"], "department": "tax" },
//               { "client_id": "portal", "client_secret": "…", "scopes": ["citizen"], "redirect_uris": ["…"] },
//               { "client_id": "pages", "client_secret": "…", "site": "http://127.0.0.1:8472", "for": "citizens" }],
//   "people": { "marie": { "department": "citizen-desk", "pseudonym": "…32 hexadecimal digits…" },
//               "claire": { "story": "…", "claims": { "given_name": "Claire", … } } } }
//
// A client with redirect_uris signs people in (authorization code, PKCE); one without speaks for itself (client
// credentials); one with `site` is the city's pages, and is told who it is by a signed userinfo, as FranceConnect does.
// Which service a token is for is asked by `resource` (RFC 8707). Tokens are JWTs (RFC 9068), signed with a key of this
// run: who starts it anew signs in anew.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { Provider, errors } from 'oidc-provider';

const ALGORITHM = 'ES256';
const ROLES = ['citizen', 'guardian', 'department', 'officer', 'auditor', 'operator'];
const PIVOT = ['given_name', 'family_name', 'preferred_username', 'birthdate', 'gender', 'birthplace', 'birthcountry'];
const DIRECTORY = ['name', 'passerelle_roles', 'passerelle_department'];
const ACR = 'eidas1';
const TOKEN_SECONDS = 900;
const INTERACTION = '/interaction/';

const city = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const clients = new Map(city.clients.map((client) => [client.client_id, client]));
const people = city.people ?? {};

const signsIn = ({ site, redirect_uris }) => Boolean(site || redirect_uris);
const registered = (client) => ({
  client_id: client.client_id,
  client_secret: client.client_secret,
  scope: ['openid', 'profile', ...PIVOT, ...(client.scopes ?? [])].join(' '),
  redirect_uris: client.site ? [`${client.site}/connexion/retour`] : client.redirect_uris ?? [],
  response_types: signsIn(client) ? ['code'] : [],
  grant_types: signsIn(client) ? ['authorization_code'] : ['client_credentials'],
  ...(client.site && {
    userinfo_signed_response_alg: ALGORITHM,
    post_logout_redirect_uris: [`${client.site}/deconnexion/faite`],
    backchannel_logout_uri: `${client.site}/deconnexion/canal`,
    backchannel_logout_session_required: true,
  }),
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
const extra = (_context, token) => {
  if (!token.accountId) return { department: clients.get(token.clientId).department };
  const { department, pseudonym } = people[token.accountId];
  return { department, pseudonym };
};

// Whoever signs in agrees to what the client asks for: there is nothing of anybody's here.
const grant = async (context) => {
  const { client, session, requestParamScopes, params } = context.oidc;
  const given = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  given.addOIDCScope([...requestParamScopes].join(' '));
  for (const audience of [params.resource ?? []].flat()) given.addResourceScope(audience, params.scope);
  if (!clients.get(client.clientId).site) given.addResourceScope(city.audiences[0], params.scope);
  await given.save();
  return given;
};

const escaped = (said) => String(said).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const html = (title, body) => `<!doctype html><html lang="fr"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title><style>
body{font:1.1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#1f211f;background:#f7f4ee}
button{font:inherit;display:block;width:100%;text-align:start;margin:.6rem 0;padding:.9rem 1rem;border:1px solid #7d776c;
border-radius:.5rem;background:#fff;cursor:pointer}small{display:block;color:#57534b}button:focus-visible{outline:3px solid}
</style><main><h1>${title}</h1>${body}</main></html>`;

const nameOf = (id, claims = {}) => claims.name
  ?? (claims.given_name && `${claims.given_name} ${claims.preferred_username ?? claims.family_name}`) ?? id;
// The pages' two clients each have their own people; to another client all are offered.
const meant = (client, { claims }) => {
  const staff = Boolean(claims?.passerelle_roles);
  return !client.for || (client.for === 'staff') === staff;
};

const choose = (uid, client) => html('Qui êtes-vous ?', `<p>Identités de test : personne n’existe.</p>
<form method="post" action="${INTERACTION}${uid}"><input type="hidden" name="prompt" value="login">
${Object.entries(people).filter(([, person]) => meant(client, person)).map(([id, { claims, story }]) =>
    `<button name="login" value="${escaped(id)}">${escaped(nameOf(id, claims))}<small>${escaped(story ?? '')}</small></button>`).join('')}
</form>`);

const interaction = async (provider, request, response) => {
  const { uid, params } = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(choose(uid, clients.get(params.client_id)));
    return;
  }
  const accountId = new URLSearchParams(await text(request)).get('login');
  const result = people[accountId] ? { login: { accountId, acr: ACR, amr: ['pwd'] } } : { error: 'access_denied' };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
};

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: ALGORITHM, kid: `${Date.now()}` };

const server = createServer();
server.listen(city.port ?? 0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: city.clients.map(registered),
    clientDefaults: { id_token_signed_response_alg: ALGORITHM },
    jwks: { keys: [key] },
    scopes: ['openid', ...ROLES],
    claims: { openid: ['sub'], profile: DIRECTORY, ...Object.fromEntries(PIVOT.map((name) => [name, [name]])) },
    acrValues: [ACR],
    cookies: { keys: [generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }).d] },
    findAccount: (_context, sub) => people[sub] && { accountId: sub, claims: () => ({ sub, ...people[sub].claims }) },
    extraTokenClaims: extra,
    loadExistingGrant: grant,
    interactions: { url: (_context, { uid }) => `${INTERACTION}${uid}` },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      jwtUserinfo: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (context, form) => {
          context.body = html('Se déconnecter ?', `${form}<button autofocus form="op.logoutForm" name="logout" value="yes">Oui, partout</button>`);
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_context, client) => clients.get(client.clientId).site ? undefined : city.audiences[0],
        useGrantedResource: () => true,
        getResourceServerInfo: resourceServer,
      },
    },
  });
  const answer = provider.callback();
  server.on('request', (request, response) => {
    if (!request.url.startsWith(INTERACTION) || request.url.split('/').length > 3) {
      answer(request, response);
      return;
    }
    interaction(provider, request, response).catch(() => response.writeHead(400).end('this sign-in is over\n'));
  });
  console.log(JSON.stringify({ issuer, jwks_uri: `${issuer}/jwks` }));
});
