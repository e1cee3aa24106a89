// An oracle: npm's oidc-provider, configured as Ostiary is, with the same clients. Whoever comes is signed in and consents at once.
//
// Prints a line when it is ready, and ends with its stdin.

import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const { issuer, clients, exempted, accounts, scopes, jwks } = JSON.parse(process.argv[2])
const port = Number(new URL(issuer).port)
const ALGORITHMS = ['RS256', 'ES256', 'EdDSA']
const CLIENT_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519']
const MINUTE = 60

const page = (ctx, status, title, form = '') => {
  ctx.status = status
  ctx.type = 'html'
  ctx.body = `<html><head><title>${title}</title></head><body>${form}</body></html>`
}

const configuration = {
  clients,
  jwks,
  scopes,
  responseTypes: ['code'],
  subjectTypes: ['public', 'pairwise'],
  acrValues: ['urn:ostiary:acr:password'],
  claims: { openid: ['sub'], profile: ['name', 'updated_at'], email: ['email', 'email_verified'], acr: null, auth_time: null, sid: null },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'],
  enabledJWA: {
    idTokenSigningAlgValues: ALGORITHMS,
    userinfoSigningAlgValues: ALGORITHMS,
    requestObjectSigningAlgValues: CLIENT_ALGORITHMS,
    clientAuthSigningAlgValues: [...CLIENT_ALGORITHMS, 'HS256', 'HS384', 'HS512'],
  },
  features: {
    devInteractions: { enabled: false },
    pushedAuthorizationRequests: { enabled: false },
    resourceIndicators: { enabled: false },
    dPoP: { enabled: false },
    claimsParameter: { enabled: true },
    clientCredentials: { enabled: true },
    requestObjects: { enabled: true },
    jwtUserinfo: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => page(ctx, 200, 'Sign out?', form),
      postLogoutSuccessSource: (ctx) => page(ctx, 200, 'Signed out'),
    },
    revocation: { enabled: true },
    introspection: {
      enabled: true,
      allowedPolicy: (ctx, client, token) =>
        client.grantTypes.length === 0 ? token.kind !== 'RefreshToken' : token.clientId === client.clientId,
    },
  },
  allowOmittingSingleRegisteredRedirectUri: true,
  enableHttpPostMethods: true,
  conformIdTokenClaims: false,
  rotateRefreshToken: true,
  issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
  pkce: { required: (ctx, client) => !exempted.includes(client.clientId) },
  cookies: { keys: ['of the oracle'], long: { sameSite: 'none' } },
  ttl: {
    AccessToken: 10 * MINUTE, AuthorizationCode: MINUTE, ClientCredentials: 10 * MINUTE, Grant: 60 * MINUTE,
    IdToken: 10 * MINUTE, Interaction: 10 * MINUTE, RefreshToken: 60 * MINUTE, Session: 60 * MINUTE,
  },
  findAccount: (ctx, accountId) => ({
    accountId,
    claims: () => ({ sub: accountId, email: accountId, email_verified: true, name: accounts[accountId] }),
  }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  renderError: (ctx, out) => page(ctx, ctx.status, out.error),
}

const provider = new Provider(issuer, configuration)
const answer = provider.callback()

/** The person's part: whoever the hint names, the first account without one; all that is asked for is allowed. */
async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response)
  if (prompt.name === 'login') {
    const accountId = params.login_hint in accounts ? params.login_hint : Object.keys(accounts)[0]
    return provider.interactionFinished(request, response, { login: { accountId } })
  }
  const { accountId } = session
  const grant = await provider.Grant.find(grantId) ?? new provider.Grant({ accountId, clientId: params.client_id })
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '))
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? [])
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } })
}

const server = createServer((request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response)
  return interact(request, response).catch((error) => {
    console.error(error)
    response.writeHead(500).end()
  })
})
provider.on('server_error', (ctx, error) => console.error(ctx.method, ctx.path, error))
server.listen(port, '127.0.0.1', () => console.log('ready'))
process.stdin.resume().on('end', () => process.exit())
