// Modules that are loaded from now on get a `node:crypto` that can `hash` in one call, which Node has since 20.12.

const OURS = new URL('./old-node-crypto.mjs', import.meta.url).href

export const resolve = (specifier, context, next) =>
  specifier === 'node:crypto' && context.parentURL !== OURS ? { url: OURS, shortCircuit: true } : next(specifier, context)
