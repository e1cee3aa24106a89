// OpenID Connect with oauth4webapi, as its own examples do it. Only its switch for http is on, since the issuer is a loopback one.

import * as oauth from 'oauth4webapi'
import { clients, issuer, person, redirectUri, resource, signingKey, travel } from './report.mjs'

const options = { [oauth.allowInsecureRequests]: true, signal: () => AbortSignal.timeout(10_000) }
const MAX_AGE = 600

let as // what discovery tells of the server

// ---- one request each -------------------------------------------------------------------------------------------------

async function discover() {
  const url = new URL(issuer)
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { ...options, algorithm: 'oidc' }))
}

/** The client's proof. `bend` may change header and claims of an assertion before it is signed. */
async function proofOf(client, bend) {
  const assertion = { [oauth.modifyAssertion]: bend }
  switch (client.token_endpoint_auth_method) {
    case 'client_secret_basic': return oauth.ClientSecretBasic(client.client_secret)
    case 'client_secret_post': return oauth.ClientSecretPost(client.client_secret)
    case 'client_secret_jwt': return oauth.ClientSecretJwt(client.client_secret, assertion)
    case 'private_key_jwt': return oauth.PrivateKeyJwt(await signingKey(client.key), assertion)
    default: return oauth.None()
  }
}

async function requestFor(client, changed) {
  const verifier = oauth.generateRandomCodeVerifier()
  const parameters = {
    response_type: 'code',
    client_id: client.client_id,
    redirect_uri: redirectUri,
    scope: client.scope,
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    max_age: String(MAX_AGE),
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...changed,
  }
  return { verifier, parameters }
}

/** From the authorization request to the validated answer. `bend` may change a request object before it is signed. */
async function authorize(client, changed = {}, { button, bend, unsigned } = {}) {
  const { verifier, parameters } = await requestFor(client, changed)
  const url = new URL(as.authorization_endpoint)
  if (client.request_object_signing_alg && !unsigned) {
    const bent = { [oauth.modifyAssertion]: bend }
    const request = await oauth.issueRequestObject(as, client, parameters, await signingKey(client.key), bent)
    const { client_id, response_type, scope, redirect_uri, state } = parameters
    url.search = new URLSearchParams({ client_id, response_type, scope, redirect_uri, state, request })
  } else {
    url.search = new URLSearchParams(parameters)
  }
  const arrived = await person(url, button)
  const answer = arrived instanceof Request ? new URLSearchParams(await arrived.text()) : arrived
  return { ...parameters, verifier, answer: oauth.validateAuthResponse(as, client, answer, parameters.state) }
}

async function exchange(client, { answer, verifier, nonce, max_age }, bend) {
  const response = await oauth.authorizationCodeGrantRequest(
    as, client, await proofOf(client, bend), answer, redirectUri, verifier, options,
  )
  const expected = { expectedNonce: nonce, maxAge: Number(max_age), requireIdToken: true }
  const token = await oauth.processAuthorizationCodeResponse(as, client, response, expected)
  await oauth.validateApplicationLevelSignature(as, response, options)
  return token
}

async function refresh(client, refreshToken) {
  const response = await oauth.refreshTokenGrantRequest(as, client, await proofOf(client), refreshToken, options)
  const token = await oauth.processRefreshTokenResponse(as, client, response)
  await oauth.validateApplicationLevelSignature(as, response, options)
  return token
}

async function userinfo(client, token, subject = claimsOf(token).sub) {
  const response = await oauth.userInfoRequest(as, client, token.access_token, options)
  const copy = response.clone()
  const claims = await oauth.processUserInfoResponse(as, client, subject, response)
  if (client.userinfo_signed_response_alg) await oauth.validateApplicationLevelSignature(as, response, options)
  return { claims, type: copy.headers.get('content-type') }
}

async function introspect(client, token) {
  const response = await oauth.introspectionRequest(as, client, await proofOf(client), token, options)
  const claims = await oauth.processIntrospectionResponse(as, client, response)
  if (client.introspection_signed_response_alg) await oauth.validateApplicationLevelSignature(as, response, options)
  return claims
}

async function revoke(client, token) {
  return oauth.processRevocationResponse(await oauth.revocationRequest(as, client, await proofOf(client), token, options))
}

/** What a resource server does with an access token that is a JWT (RFC 9068): no request to anybody, but for the keys. */
async function readAccessToken(token) {
  const request = new Request(resource, { headers: { Authorization: `Bearer ${token}` } })
  return oauth.validateJwtAccessToken(as, request, issuer, options)
}

/** RP-initiated logout: the library leaves the address to its user. */
async function signOut(parameters, button) {
  const url = new URL(as.end_session_endpoint)
  url.search = new URLSearchParams(parameters)
  return person(url, button)
}

const claimsOf = (token) => oauth.getValidatedIdTokenClaims(token)
const headerOf = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[0], 'base64url'))

// ---- what a step tells of what came of it -----------------------------------------------------------------------------

const done = () => 'done'
const names = ({ answer }) => [...answer.keys()].sort()
const tokenFacts = (token) => ({
  token_type: token.token_type,
  expires_in: token.expires_in,
  scope: token.scope,
  has_refresh_token: token.refresh_token !== undefined,
  alg: headerOf(token.id_token).alg,
  claims: Object.keys(claimsOf(token)).sort(),
})
const who = ({ claims, type }) => ({ type: type.split(';')[0], names: Object.keys(claims).sort(), email: claims.email })
const activity = (client) => ({ active, client_id, scope, iss }) => ({
  active, scope, is_of_the_client: client_id === client.client_id, is_ours: iss === as.issuer,
})
const returned = (url) => ({ to: url.origin + url.pathname, state: url.searchParams.get('state') })

/** An ID token beside one before it, of the same sign-in. */
const compare = (before) => (after) => {
  const [old, now] = [claimsOf(before), claimsOf(after)]
  const same = (name) => now[name] !== undefined && now[name] === old[name]
  return { same_sub: same('sub'), same_sid: same('sid'), same_auth_time: same('auth_time'), has_nonce: 'nonce' in now }
}

// ---- the journeys -----------------------------------------------------------------------------------------------------

async function discovery(step) {
  as = await step('discover', discover, done)
}

/** A sign-in from its authorization request to its revocation, with a renewal in the background. */
const signIn = (client, changed) => async (step, refused) => {
  const answer = await step('authorize', () => authorize(client, changed), names)
  const first = await step('exchange', () => exchange(client, answer), tokenFacts)
  await step('userinfo', () => userinfo(client, first), who)

  const second = await step('refresh', () => refresh(client, first.refresh_token), compare(first))
  await refused('userinfo with what was replaced', () => userinfo(client, first))
  await step('introspect', () => introspect(clients.api, second.access_token), activity(client))

  const silently = { ...changed, prompt: 'none', id_token_hint: second.id_token }
  const renewed = await step('authorize without asking', () => authorize(client, silently), names)
  const third = await step('exchange what came of it', () => exchange(client, renewed), compare(first))
  await step('revoke', () => revoke(client, third.access_token), done)
  await refused('userinfo with what was revoked', () => userinfo(client, third))
  await refused('refresh what was revoked', () => refresh(client, third.refresh_token))
}

/** What a request may ask of the sign-in. The person gives the password again where that is asked. */
async function wishes(step) {
  const client = clients.plain
  const first = await step('authorize', () => authorize(client), names)
  const token = await step('exchange', () => exchange(client, first), tokenFacts)
  for (const [name, wish] of Object.entries({
    'sign in again': { prompt: 'login' },
    'a sign-in of this moment': { max_age: '0' },
    'ask for consent again': { prompt: 'consent' },
    'whoever the ID token names': { id_token_hint: token.id_token },
    'whoever the address names': { login_hint: 'ada@example.com' },
    'the language': { ui_locales: 'de en', display: 'popup' },
  })) {
    const answer = await step(`authorize: ${name}`, () => authorize(client, wish), names)
    await step(`exchange: ${name}`, () => exchange(client, { ...answer, max_age: MAX_AGE }), ({ scope }) => ({ scope }))
  }
  const claims = JSON.stringify({ id_token: { email: { essential: true }, acr: null }, userinfo: { name: null } })
  const answer = await step('authorize: claims', () => authorize(client, { claims, scope: 'openid' }), names)
  const asked = await step('exchange: claims', () => exchange(client, answer), tokenFacts)
  await step('userinfo: claims', () => userinfo(client, asked), who)
}

/** A client that shares its people's identifiers with nobody. */
async function pairwise(step) {
  const subjects = []
  for (const client of [clients.plain, clients.pairwise]) {
    const answer = await step(`authorize at ${client.name}`, () => authorize(client), names)
    const token = await step(`exchange at ${client.name}`, () => exchange(client, answer), ({ scope }) => ({ scope }))
    await step(`userinfo at ${client.name}`, () => userinfo(client, token), who)
    subjects.push(claimsOf(token).sub)
  }
  await step('compare', async () => subjects, ([one, other]) => ({ are_the_same: one === other }))
}

/** Access tokens that resource servers read by themselves, and signed words about those that they cannot read. */
async function accessTokens(step) {
  const client = clients.jwt
  const answer = await step('authorize', () => authorize(client), names)
  const token = await step('exchange', () => exchange(client, answer), tokenFacts)
  const facts = ({ sub, client_id, scope }) => ({
    scope, is_of_the_client: client_id === client.client_id, same_sub: sub === claimsOf(token).sub,
  })
  await step('read the access token', () => readAccessToken(token.access_token), facts)
  await step('introspect, signed', () => introspect(clients['signed-api'], token.access_token), activity(client))
  await step('userinfo', () => userinfo(client, token), who)
}

/** The client takes the person to sign out, and gets them back. */
async function logout(step, refused) {
  const client = clients.plain
  const answer = await step('authorize', () => authorize(client), names)
  const { id_token } = await step('exchange', () => exchange(client, answer), tokenFacts)
  const back = { post_logout_redirect_uri: client.post_logout_redirect_uris[0], state: 'the state' }
  await step('sign out', () => signOut({ id_token_hint: id_token, ...back }), returned)
  await refused('authorize without asking', () => authorize(client, { prompt: 'none' }))
  await step('sign out where nobody is signed in', () => signOut({ id_token_hint: id_token, ...back }), returned)
  await step('sign in again', () => authorize(client), names)
  await step('sign out after a question', () => signOut({ client_id: client.client_id, ...back }, 'Sign out'), returned)
  await refused('authorize without asking again', () => authorize(client, { prompt: 'none', id_token_hint: id_token }))
}

/** What the authorization endpoint does not grant. */
async function refusedAuthorization(step, refused) {
  const client = clients.plain
  const essential = { id_token: { acr: { essential: true, value: 'urn:example:two-factors' } } }
  await step('authorize', () => authorize(client), names)
  await refused('silently at a client that was never allowed', () => authorize(clients.stranger, { prompt: 'none' }))
  await refused('silently and not', () => authorize(client, { prompt: 'none login' }))
  await refused('a prompt that there is not', () => authorize(client, { prompt: 'maybe' }))
  await refused('an age that is none', () => authorize(client, { max_age: 'young' }))
  await refused('claims that are no JSON', () => authorize(client, { claims: '{' }))
  await refused('a way to sign in that there is not', () => authorize(client, { claims: JSON.stringify(essential) }))
  await refused('an ID token of nobody', () => authorize(client, { id_token_hint: 'no.id.token' }))
  await refused('the person denies', () => authorize(client, { prompt: 'consent' }, { button: 'Deny' }))
  await refused('a request object by reference', () => authorize(client, { request_uri: 'https://app.example/request' }))
  await refused('the implicit flow', () => authorize(client, { response_type: 'id_token' }))
  await refused('without PKCE', () => authorize(client, { code_challenge: '', code_challenge_method: '' }))
}

const withoutSignature = (header) => { header.alg = 'none' }
const claim = (name, value) => (header, claims) => { claims[name] = value }

/** Request objects that are not what was registered. */
async function refusedRequestObjects(step, refused) {
  const client = clients.signed
  const bent = (bend) => () => authorize(client, {}, { bend })
  await step('authorize', () => authorize(client), names)
  await refused('nothing signed', () => authorize(client, {}, { unsigned: true }))
  await refused('without a signature', bent(withoutSignature))
  await refused('for another server', bent(claim('aud', 'https://other.example')))
  await refused('of another client', bent(claim('iss', clients.plain.client_id)))
  await refused('that has expired', bent(claim('exp', 1)))
  await refused('with another scope inside', bent(claim('scope', 'openid')))
  await refused('with another key', () => authorize({ ...client, key: clients['private-key'].key }))
  await refused('with an unknown scope', () => authorize(client, { scope: 'openid unknown' }))
}

/** Assertions of clients that are not what they should be. Each one leaves the code as it was. */
async function refusedAssertions(step, refused) {
  for (const client of [clients['private-key'], clients['secret-jwt']]) {
    const answer = await step(`authorize as ${client.name}`, () => authorize(client), names)
    const bent = (bend) => () => exchange(client, answer, bend)
    await refused(`for another server, as ${client.name}`, bent(claim('aud', 'https://other.example')))
    await refused(`that has expired, as ${client.name}`, bent(claim('exp', 1)))
    await refused(`of another client, as ${client.name}`, bent(claim('sub', clients.plain.client_id)))
    const jti = claim('jti', `once-${client.name}`)
    const token = await step(`with a jti, as ${client.name}`, bent(jti), tokenFacts)
    const again = await step(`authorize again as ${client.name}`, () => authorize(client), names)
    await refused(`with the same jti, as ${client.name}`, () => exchange(client, again, jti))
    await step(`userinfo as ${client.name}`, () => userinfo(client, token), who)
  }
}

/** The library's own checks are on: it would notice. */
async function watchful(step) {
  const { plain, ES256 } = clients
  const notice = (client, answer) => () => exchange(client, answer).then(() => ({ code: 'nothing' }), (error) => error)
  const code = ({ code }) => code
  const answer = await step('authorize', () => authorize(plain), names)
  await step('another nonce', notice(plain, { ...answer, nonce: 'another' }), code)
  const es256 = await step('authorize at the client with ES256', () => authorize(ES256), names)
  await step('another alg', notice({ ...ES256, id_token_signed_response_alg: 'RS256' }, es256), code)
}

/** Userinfo is for whoever asked for `openid`. */
async function refusedUserinfo(step, refused) {
  const client = clients.plain
  const answer = await step('authorize', () => authorize(client, { scope: 'email' }), names)
  const response = () => oauth.authorizationCodeGrantRequest(
    as, client, oauth.ClientSecretBasic(client.client_secret), answer.answer, redirectUri, answer.verifier, options,
  )
  const plain = async () => oauth.processAuthorizationCodeResponse(as, client, await response())
  const token = await step('exchange', plain, ({ scope, id_token }) => ({ scope, has_id_token: id_token !== undefined }))
  await refused('userinfo', () => userinfo(client, token, oauth.skipSubjectCheck))
  await refused('userinfo with an invented token', () => userinfo(client, { access_token: 'invented' }, 'nobody'))
}

await travel({
  discovery,
  'RS256, client_secret_basic': signIn(clients.plain),
  'ES256, client_secret_post, form_post': signIn(clients.ES256, { response_mode: 'form_post' }),
  'EdDSA, none': signIn(clients.EdDSA),
  'signed userinfo, private_key_jwt': signIn(clients['private-key']),
  'client_secret_jwt': signIn(clients['secret-jwt']),
  'signed requests, form_post': signIn(clients.signed, { response_mode: 'form_post' }),
  wishes,
  pairwise,
  'access tokens': accessTokens,
  logout,
  'refused authorization': refusedAuthorization,
  'refused request objects': refusedRequestObjects,
  'refused assertions': refusedAssertions,
  'refused userinfo': refusedUserinfo,
  watchful,
})
