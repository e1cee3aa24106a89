// Plain OAuth with oauth4webapi, as its own examples do it. Only its switch for http is on, since the issuer is a loopback one.

import * as oauth from 'oauth4webapi'
import { clients, issuer, person, redirectUri, resource, travel } from './report.mjs'

const options = { [oauth.allowInsecureRequests]: true, signal: () => AbortSignal.timeout(10_000) }
const PROOF = {
  client_secret_basic: (client) => oauth.ClientSecretBasic(client.client_secret),
  client_secret_post: (client) => oauth.ClientSecretPost(client.client_secret),
  none: () => oauth.None(),
}
const proofOf = (client) => PROOF[client.token_endpoint_auth_method](client)
const withAnotherSecret = (client) => ({ ...client, client_secret: client.client_secret.replace(/.$/, '!') })

let as // what discovery tells of the server

// ---- one request each -------------------------------------------------------------------------------------------------

async function discover() {
  const url = new URL(issuer)
  const response = await oauth.discoveryRequest(url, { ...options, algorithm: 'oauth2' })
  return oauth.processDiscoveryResponse(url, response)
}

/** From the authorization request to the validated answer: its parameters, and the verifier that they are bound to. */
async function authorize(client, { button, scope = client.scope } = {}) {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const parameters = oauth.validateAuthResponse(as, client, await person(url, button), state)
  return { parameters, verifier, state }
}

async function exchange(client, { parameters, verifier }) {
  const response = await oauth.authorizationCodeGrantRequest(
    as, client, proofOf(client), parameters, redirectUri, verifier, options,
  )
  return oauth.processAuthorizationCodeResponse(as, client, response)
}

async function refresh(client, refreshToken) {
  const response = await oauth.refreshTokenGrantRequest(as, client, proofOf(client), refreshToken, options)
  return oauth.processRefreshTokenResponse(as, client, response)
}

async function clientCredentials(client, parameters = {}) {
  const response = await oauth.clientCredentialsGrantRequest(as, client, proofOf(client), parameters, options)
  return oauth.processClientCredentialsResponse(as, client, response)
}

async function introspect(client, token) {
  const response = await oauth.introspectionRequest(as, client, proofOf(client), token, options)
  return oauth.processIntrospectionResponse(as, client, response)
}

async function revoke(client, token) {
  const response = await oauth.revocationRequest(as, client, proofOf(client), token, options)
  return oauth.processRevocationResponse(response)
}

async function useResource(accessToken) {
  const response = await oauth.protectedResourceRequest(
    accessToken, 'GET', new URL(resource), undefined, undefined, options,
  )
  return response.json()
}

// ---- what a step tells of what came of it -----------------------------------------------------------------------------

const done = () => 'done'
const names = ({ parameters }) => [...parameters.keys()].sort()
const tokenFacts = ({ token_type, expires_in, scope, refresh_token }) => ({
  token_type, expires_in, scope, has_refresh_token: refresh_token !== undefined,
})
const activity = ({ active, client_id, scope, token_type, iss }) => ({
  active, client_id, scope, token_type, is_ours: iss && iss === as.issuer,
})
const compare = (before) => (after) => ({
  same_access_token: after.access_token === before.access_token,
  same_refresh_token: after.refresh_token === before.refresh_token,
})

// ---- the journeys -----------------------------------------------------------------------------------------------------

/** A sign-in from its authorization request to its revocation. */
const signIn = (client) => async (step, refused) => {
  const answer = await step('authorize', () => authorize(client), names)
  const first = await step('exchange', () => exchange(client, answer), tokenFacts)
  await step('use', () => useResource(first.access_token), ({ email }) => ({ email }))
  await step('introspect', () => introspect(clients.api, first.access_token), activity)

  const second = await step('refresh', () => refresh(client, first.refresh_token), compare(first))
  await step('refresh again', () => refresh(client, first.refresh_token), compare(second))
  await refused('use what was replaced', () => useResource(first.access_token))
  const third = await step('refresh what came of it', () => refresh(client, second.refresh_token), compare(second))
  await step('introspect what was replaced', () => introspect(clients.api, second.access_token), activity)

  await step('revoke', () => revoke(client, third.refresh_token), done)
  await step('revoke again', () => revoke(client, third.refresh_token), done)
  await step('introspect what was revoked', () => introspect(clients.api, third.access_token), activity)
  await refused('use what was revoked', () => useResource(third.access_token))
  await refused('refresh what was revoked', () => refresh(client, third.refresh_token))
}

/** A machine that asks for itself. */
const machine = (client) => async (step, refused) => {
  const token = await step('ask', () => clientCredentials(client), tokenFacts)
  await step('ask for a scope', () => clientCredentials(client, { scope: 'read' }), tokenFacts)
  await step('introspect', () => introspect(clients.api, token.access_token), activity)
  await step('introspect its own', () => introspect(client, token.access_token), activity)
  await refused('use where a person is needed', () => useResource(token.access_token))
  await refused('ask for a scope it may not have', () => clientCredentials(client, { scope: 'read write' }))
  await refused('ask with another secret', () => clientCredentials(withAnotherSecret(client)))
  await refused('introspect with another secret', () => introspect(withAnotherSecret(client), token.access_token))
  await refused('revoke with another secret', () => revoke(withAnotherSecret(client), token.access_token))
  await step('revoke', () => revoke(client, token.access_token), done)
  await step('introspect what was revoked', () => introspect(clients.api, token.access_token), activity)
}

async function discovery(step) {
  as = await step('discover', discover, done)
}

/** What comes back from the authorization endpoint as an error. */
async function refusedAuthorization(step, refused) {
  await refused('the person denies', () => authorize(clients.asker, { button: 'Deny' }))
  await refused('a scope it may not have', () => authorize(clients.asker, { scope: 'write' }))
}

/** Codes that are not what they should be. The last one was right once, and takes with it what was issued for it. */
async function refusedCodes(step, refused) {
  const client = clients.spa
  const answer = await step('authorize', () => authorize(client), names)
  const invented = new URLSearchParams({ code: 'invented', state: answer.state, iss: as.issuer })
  const parameters = oauth.validateAuthResponse(as, client, invented, answer.state)
  await refused('an invented code', () => exchange(client, { ...answer, parameters }))
  await refused('another verifier', () => exchange(client, { ...answer, verifier: oauth.generateRandomCodeVerifier() }))
  await refused('another client', () => exchange(clients['web-post'], answer))
  const token = await step('exchange', () => exchange(client, answer), tokenFacts)
  await refused('the same code', () => exchange(client, answer))
  await refused('use what it made', () => useResource(token.access_token))
}

/** Clients that are not who they say, or do what is not theirs. */
async function refusedClients(step, refused) {
  const answer = await step('authorize', () => authorize(clients.spa), names)
  const token = await step('exchange', () => exchange(clients.spa, answer), tokenFacts)
  const unknown = { ...clients.spa, client_id: 'nobody' }
  await refused('refresh as a client that there is not', () => refresh(unknown, token.refresh_token))
  await refused('refresh as another client', () => refresh(clients['web-post'], token.refresh_token))
  await refused('revoke as another client', () => revoke(clients['web-post'], token.refresh_token))
  await refused('introspect as a public client', () => introspect(clients.spa, token.access_token))
  await refused('be a machine as a public client', () => clientCredentials(clients.spa))
  await refused('be a machine as a web client', () => clientCredentials(clients['web-post']))
  await step('introspect as another client', () => introspect(clients['web-post'], token.access_token), activity)
  await step('introspect a refresh token', () => introspect(clients.api, token.refresh_token), activity)
  await step('use after all', () => useResource(token.access_token), ({ email }) => ({ email }))
}

await travel({
  discovery,
  'client_secret_basic': signIn(clients['web-basic']),
  'client_secret_post': signIn(clients['web-post']),
  'none': signIn(clients.spa),
  'machine, client_secret_basic': machine(clients['robot-basic']),
  'machine, client_secret_post': machine(clients['robot-post']),
  'refused authorization': refusedAuthorization,
  'refused codes': refusedCodes,
  'refused clients': refusedClients,
})
