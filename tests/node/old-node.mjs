// What the packages expect of Node, and Node 18 has under other names or not at all. To be imported first.

import * as crypto from 'node:crypto'
import { register } from 'node:module'

globalThis.crypto ??= crypto.webcrypto
globalThis.CryptoKey ??= crypto.webcrypto.CryptoKey
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null)
if (crypto.hash === undefined) register('./old-node-hooks.mjs', import.meta.url)
