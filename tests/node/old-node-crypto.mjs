// `node:crypto` of Node 18, and what it lacks.

import crypto from 'node:crypto'

export * from 'node:crypto'
export default crypto
export const hash = (algorithm, data, encoding = 'hex') => crypto.createHash(algorithm).update(data).digest(encoding)
