// How a script talks to the test that runs it: a line of JSON for each step on stdout, the person's way back on stdin.
//
// A step tells what the library read from an answer, or how it refused the answer; what is right is the test's affair. A
// journey ends at the first step that fails: what comes after it is missing, and the test names what it missed.

import './old-node.mjs'
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const tell = (report) => console.log(JSON.stringify(report))

/** What the test passed on: the issuer and the registered clients, by name. */
export const { issuer, clients, redirectUri, resource } = JSON.parse(process.argv[2])

/** Run journeys one after the other: names, and functions that take `step` and `refused`. */
export async function travel(journeys) {
  for (const [journey, run] of Object.entries(journeys)) {
    try {
      await run(...reporters(journey))
    } catch (error) {
      if (!(error instanceof JourneyEnded)) tell({ journey, step: 'between the steps', outcome: refusal(error) })
    }
  }
  process.stdin.destroy()
}

class JourneyEnded extends Error {}

/** `step` tells the facts of what an action came to, and returns that; `refused` is for an action that must not succeed. */
function reporters(journey) {
  const step = async (name, action, facts) => {
    const result = await action().catch((error) => {
      tell({ journey, step: name, outcome: refusal(error) })
      throw new JourneyEnded()
    })
    tell({ journey, step: name, outcome: facts(result) })
    return result
  }
  const refused = async (name, action) => {
    tell({ journey, step: name, outcome: await action().then(() => 'was not refused', refusal) })
  }
  return [step, refused]
}

/** A refusal as the library reads it: its class of error with the registered words; of any other error everything. */
function refusal(error) {
  const { name: kind, status } = error
  if (kind === 'WWWAuthenticateChallengeError') return { kind, status, challenges: error.cause.map(challenge) }
  return error.error ? { kind, status, error: error.error } : { kind, all: inspect(error) }
}

const challenge = ({ scheme, parameters: { realm, error } }) => ({ scheme, realm, error })

/** The person opens an address, signs in if asked, and presses a button if asked; returns where the browser was sent.
 *
 * That is a URL; a Request where the answer came in a form (OAuth 2.0 Form Post Response Mode).
 */
export async function person(url, button = 'Allow') {
  tell({ opens: url.href, presses: button })
  const { sent_to, form } = JSON.parse((await lines.next()).value)
  return form === null ? new URL(sent_to) : new Request(sent_to, { method: 'POST', body: new URLSearchParams(form) })
}

const KINDS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  Ed25519: { name: 'Ed25519' },
}

/** A client's own key, as both libraries take it. */
export async function signingKey({ alg, jwk }) {
  return { key: await crypto.subtle.importKey('jwk', jwk, KINDS[alg], false, ['sign']), kid: jwk.kid }
}
