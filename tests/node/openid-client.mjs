// The same with openid-client, which keeps discovery, client and checks in one configuration. Plain OAuth: no ID token.

import * as client from 'openid-client'
import { clients, issuer, person, redirectUri, resource, travel } from './report.mjs'

const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests], timeout: 10 }

const discover = ({ client_id, client_secret }, authentication) =>
  client.discovery(new URL(issuer), client_id, client_secret, authentication, options)

async function authorize(config, button) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'profile email',
    state: expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  const arrivedAt = await person(url, button)
  return client.authorizationCodeGrant(config, arrivedAt, { pkceCodeVerifier, expectedState })
}

const useResource = async (config, accessToken) =>
  (await client.fetchProtectedResource(config, accessToken, new URL(resource), 'GET')).json()

const done = () => 'done'
const tokenFacts = (token) => ({
  token_type: token.token_type,
  expires_in: token.expires_in,
  scope: token.scope,
  has_refresh_token: token.refresh_token !== undefined,
})
const activity = ({ active, client_id }) => ({ active, client_id })

/** A sign-in from discovery to revocation. */
const signIn = (registered, authentication) => async (step, refused) => {
  const config = await step('discover', () => discover(registered, authentication), done)
  const first = await step('authorize and exchange', () => authorize(config), tokenFacts)
  await step('use', () => useResource(config, first.access_token), ({ email }) => ({ email }))
  const second = await step('refresh', () => client.refreshTokenGrant(config, first.refresh_token), tokenFacts)
  await refused('use what was replaced', () => useResource(config, first.access_token))
  await step('revoke', () => client.tokenRevocation(config, second.access_token), done)
  await refused('use what was revoked', () => useResource(config, second.access_token))
  await refused('refresh what was revoked', () => client.refreshTokenGrant(config, second.refresh_token))
}

/** A machine's token, asked for, explained and revoked. */
const machine = (registered, authentication) => async (step, refused) => {
  const config = await step('discover', () => discover(registered, authentication), done)
  const token = await step('ask', () => client.clientCredentialsGrant(config, { scope: 'read' }), tokenFacts)
  await step('introspect', () => client.tokenIntrospection(config, token.access_token), activity)
  await refused('use where a person is needed', () => useResource(config, token.access_token))
  await step('revoke', () => client.tokenRevocation(config, token.access_token), done)
  await step('introspect what was revoked', () => client.tokenIntrospection(config, token.access_token), activity)
}

/** The person says no. */
async function denied(step, refused) {
  const config = await step('discover', () => discover(clients.asker), done)
  await refused('the person denies', () => authorize(config, 'Deny'))
}

await travel({
  'client_secret_basic': signIn(clients['web-basic'], client.ClientSecretBasic(clients['web-basic'].client_secret)),
  'client_secret_post': signIn(clients['web-post']), // its default, when it is given a secret
  'none': signIn(clients.spa, client.None()),
  'machine, client_secret_basic': machine(clients['robot-basic'], client.ClientSecretBasic(clients['robot-basic'].client_secret)),
  'machine, client_secret_post': machine(clients['robot-post']),
  denied,
})
