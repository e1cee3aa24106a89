// OpenID Connect with openid-client. Signatures are checked too (its non-repudiation checks), and http is allowed; that is all.

import * as client from 'openid-client'
import { clients, issuer, person, redirectUri, signingKey, travel } from './report.mjs'

const options = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], timeout: 10 }

async function discover({ client_id, client_secret, key, ...metadata }) {
  const proofs = {
    client_secret_basic: () => client.ClientSecretBasic(client_secret),
    client_secret_post: () => client.ClientSecretPost(client_secret),
    client_secret_jwt: () => client.ClientSecretJwt(client_secret),
    private_key_jwt: async () => client.PrivateKeyJwt(await signingKey(key)),
    none: () => client.None(),
  }
  const proof = await proofs[metadata.token_endpoint_auth_method]()
  return client.discovery(new URL(issuer), client_id, metadata, proof, options)
}

/** One authorization request and what it becomes. `key` signs it, where there is one. */
async function authorize(config, changed = {}, { button, key } = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const parameters = {
    redirect_uri: redirectUri,
    scope: config.clientMetadata().scope,
    state: client.randomState(),
    nonce: client.randomNonce(),
    max_age: '600',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...changed,
  }
  const url = key
    ? await client.buildAuthorizationUrlWithJAR(config, parameters, await signingKey(key))
    : client.buildAuthorizationUrl(config, parameters)
  return client.authorizationCodeGrant(config, await person(url, button), {
    pkceCodeVerifier,
    expectedState: parameters.state,
    expectedNonce: parameters.nonce,
    maxAge: Number(parameters.max_age),
    idTokenExpected: true,
  })
}

const userinfo = (config, token) => client.fetchUserInfo(config, token.access_token, token.claims().sub)

const done = () => 'done'
const tokenFacts = (token) => ({
  scope: token.scope,
  has_refresh_token: token.refresh_token !== undefined,
  claims: Object.keys(token.claims()).sort(),
})
const who = ({ email, name }) => ({ email, name })
const activity = ({ client_id }) => ({ active, client_id: id }) => ({ active, is_its_own: id === client_id })
const returned = (url) => ({ to: url.origin + url.pathname, state: url.searchParams.get('state') })
const compare = (before) => (after) => ({
  same_sub: after.claims().sub === before.claims().sub,
  same_auth_time: after.claims().auth_time === before.claims().auth_time,
})

/** A sign-in from discovery to logout. */
const signIn = (registered, changed) => async (step, refused) => {
  const key = registered.request_object_signing_alg ? registered.key : undefined
  const config = await step('discover', () => discover(registered), done)
  const first = await step('authorize and exchange', () => authorize(config, changed, { key }), tokenFacts)
  await step('userinfo', () => userinfo(config, first), who)
  const second = await step('refresh', () => client.refreshTokenGrant(config, first.refresh_token), compare(first))
  const silently = { ...changed, prompt: 'none', id_token_hint: second.id_token }
  const third = await step('renew without asking', () => authorize(config, silently, { key }), compare(first))
  if (registered.token_endpoint_auth_method !== 'none') {
    await step('introspect', () => client.tokenIntrospection(config, third.access_token), activity(registered))
  }
  await step('revoke', () => client.tokenRevocation(config, third.refresh_token), done)
  await refused('userinfo with what was revoked', () => userinfo(config, third))
  await refused('refresh what was revoked', () => client.refreshTokenGrant(config, third.refresh_token))
  const parameters = {
    id_token_hint: third.id_token,
    post_logout_redirect_uri: registered.post_logout_redirect_uris[0],
    state: client.randomState(),
  }
  const back = await step('sign out', () => person(client.buildEndSessionUrl(config, parameters)), ({ pathname }) => pathname)
  await step('come back', async () => back, (url) => ({ has_its_state: returned(url).state === parameters.state }))
  await refused('renew without asking after that', () => authorize(config, silently, { key }))
}

/** What the authorization endpoint refuses, as this library reads it. */
async function refusals(step, refused) {
  const config = await step('discover', () => discover(clients.plain), done)
  await refused('nobody is signed in', () => authorize(config, { prompt: 'none' }))
  await refused('the person denies', () => authorize(config, { prompt: 'login consent' }, { button: 'Deny' }))
  await refused('an age that is none', () => authorize(config, { max_age: '-1' }))
  await refused('a request object of a client without keys', () => authorize(config, {}, { key: clients.signed.key }))
  const signing = await step('discover as a client that signs', () => discover(clients.signed), done)
  await refused('nothing signed', () => authorize(signing))
  await refused('signed with another key', () => authorize(signing, {}, { key: clients['private-key'].key }))
}

await travel({
  'RS256, client_secret_basic': signIn(clients.plain),
  'ES256, client_secret_post, form_post': signIn(clients.ES256, { response_mode: 'form_post' }),
  'EdDSA, none': signIn(clients.EdDSA),
  'signed userinfo, private_key_jwt': signIn(clients['private-key']),
  'client_secret_jwt': signIn(clients['secret-jwt']),
  'signed requests, form_post': signIn(clients.signed, { response_mode: 'form_post' }),
  refusals,
})
