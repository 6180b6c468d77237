// A certified OpenID Provider on loopback: client credentials, and authorization code with PKCE for the user
// alice, who agrees to everything. POST /rotate signs with a new key from then on and keeps the old ones published.
//
//   node oidc-provider.mjs PORT AUDIENCE FOLDER     FOLDER holds node_modules; keys are kept there by nobody
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [port, audience, folder] = process.argv.slice(2);
const found = createRequire(`${folder}/`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(found).href);
const issuer = `http://127.0.0.1:${port}`;
const keys = [];

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = `${process.pid}-${keys.length + 1}`;
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' });
}

function interaction(provider) {
  return async (context, next) => {
    if (!context.path.startsWith('/interaction/')) return next();
    const asked = await provider.interactionDetails(context.req, context.res);
    let result = { login: { accountId: 'alice' } };
    if (asked.prompt.name !== 'login') {
      const grant = new provider.Grant({ accountId: asked.session.accountId, clientId: asked.params.client_id });
      const missing = asked.prompt.details;
      if (missing.missingOIDCScope) grant.addOIDCScope(missing.missingOIDCScope.join(' '));
      for (const [resource, scopes] of Object.entries(missing.missingResourceScopes ?? {})) {
        grant.addResourceScope(resource, scopes.join(' '));
      }
      result = { consent: { grantId: await grant.save() } };
    }
    return provider.interactionFinished(context.req, context.res, result, { mergeWithLastSubmission: true });
  };
}

function build() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: 'svc', client_secret: 'svc-secret', grant_types: ['client_credentials'],
        redirect_uris: [], response_types: [],
      },
      {
        client_id: 'web', client_secret: 'web-secret', grant_types: ['authorization_code'],
        redirect_uris: ['http://127.0.0.1:1/callback'], response_types: ['code'],
      },
    ],
    scopes: ['openid', 'api'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource) => ({
          audience: resource, scope: 'api', accessTokenFormat: 'jwt', accessTokenTTL: 300,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    pkce: { required: () => true },
    findAccount: (_context, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
    interactions: { url: (_context, asked) => `/interaction/${asked.uid}` },
    cookies: { keys: ['for tests on loopback'] },
  });
  provider.use(interaction(provider));
  return provider.callback();
}

newKey();
let current = build();
createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    newKey();
    current = build();
    response.end('rotated');
    return;
  }
  current(request, response);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
