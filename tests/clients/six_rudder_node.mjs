// The six calls through @rudderstack/rudder-sdk-node. argv: node_modules, settings as in six_calls.py.
// Prints {"errors": [...]}. Without an errorHandler the SDK ends the process at the first batch that it drops.
import { createRequire } from 'node:module'
const [modules, text] = process.argv.slice(2)
const { host, writeKey, retries, timeout, gzip } = JSON.parse(text)
const Analytics = createRequire(modules + '/')('@rudderstack/rudder-sdk-node')
const errors = []
const analytics = new Analytics(writeKey, {
  dataPlaneUrl: host, gzip, flushAt: 3, flushInterval: 200, retryCount: retries, timeout: timeout * 1000, logLevel: 'none',
  errorHandler: (error) => errors.push(String(error)),
})
// The first call is sent at once, alone; then by threes.
const calls = [
  ['identify', { userId: 'u1', traits: { email: 'ada@example.com', when: new Date(0) } }],
  ['track', {
    userId: 7, anonymousId: 'a1', event: 'Order Completed',
    properties: { revenue: 12.5, products: [{ sku: 'a', q: 1 }], none: null, text: 'ü\u2028' },
    integrations: { All: true, Amplitude: false }, context: { locale: 'en-GB' }, timestamp: new Date(86400000),
  }],
  ['page', { userId: 'u1', category: 'Docs', name: 'Node', properties: { url: 'https://example.com/' } }],
  ['screen', { anonymousId: 'a1', name: 'Settings' }],
  ['group', { userId: 'u1', groupId: 'g1', traits: { name: 'ACME' } }],
  ['alias', { userId: 'u1', previousId: 'a1' }],
]
const answered = calls.map(([name, message]) => new Promise((resolve) => analytics[name](message, resolve)))
await Promise.all(answered)
console.log(JSON.stringify({ errors }))
