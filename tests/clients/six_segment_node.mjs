// The six calls through @segment/analytics-node. argv: node_modules, settings as in six_calls.py. Prints {"errors": [...]}.
import { createRequire } from 'node:module'
const [modules, text] = process.argv.slice(2)
const { host, writeKey, retries, timeout, oauth } = JSON.parse(text)
const { Analytics } = createRequire(modules + '/')('@segment/analytics-node')
const errors = []
const analytics = new Analytics({
  writeKey, host, flushAt: 3, maxRetries: retries, httpRequestTimeout: timeout * 1000, oauthSettings: oauth,
})
analytics.on('error', (error) => errors.push(String(error.reason ?? error.code)))
analytics.identify({ userId: 'u1', traits: { email: 'ada@example.com', when: new Date(0) } })
analytics.track({
  userId: 'u1', anonymousId: 'a1', event: 'Order Completed',
  properties: { revenue: 12.5, products: [{ sku: 'a', q: 1 }], none: null, text: 'ü\u2028' },
  integrations: { All: true, Amplitude: false }, context: { locale: 'en-GB' },
})
analytics.page({ userId: 'u1', category: 'Docs', name: 'Node', properties: { url: 'https://example.com/' } })
analytics.screen({ anonymousId: 'a1', name: 'Settings' })
analytics.group({ userId: 'u1', groupId: 'g1', traits: { name: 'ACME' } })
analytics.alias({ userId: 'u1', previousId: 'a1' })
await analytics.closeAndFlush()
console.log(JSON.stringify({ errors }))
