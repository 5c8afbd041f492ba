// A driver of @segment/analytics-node for the public e2e-cli contract (spec: wire.md §11).
//
//   node e2e_cli.mjs NODE_MODULES --input '{"writeKey", "apiHost"?, "cdnHost"?, "sequences": [{"delayMs", "events": […]}],
//     "config"?: {"flushAt", "flushInterval": ms, "maxRetries", "timeout": seconds for one request}}'
//
// Prints {"success", "error"?, "sentBatches": batches that were answered 2xx}; the exit code is 0 or 1. With `cdnHost`
// (which ends in /v1) the settings document is fetched first, as SDKs with settings do, and names the apiHost where the
// input has none.
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

const TYPES = ['identify', 'track', 'page', 'screen', 'group', 'alias']

async function main() {
  const { values, positionals } = parseArgs({ options: { input: { type: 'string' } }, allowPositionals: true })
  if (values.input === undefined) throw new Error('--input is missing')
  const { writeKey, apiHost, cdnHost, sequences, config = {} } = JSON.parse(values.input)
  const { Analytics } = createRequire(positionals[0] + '/')('@segment/analytics-node')
  const named = cdnHost === undefined ? undefined : await settings(cdnHost, writeKey)
  const analytics = new Analytics({
    writeKey,
    host: apiHost ?? named,
    flushAt: config.flushAt,
    flushInterval: config.flushInterval,
    maxRetries: config.maxRetries,
    httpRequestTimeout: config.timeout === undefined ? undefined : config.timeout * 1000,
  })
  let sentBatches = 0
  const errors = []
  analytics.on('http_response', ({ status }) => { if (status >= 200 && status < 300) sentBatches += 1 })
  analytics.on('error', ({ reason, code }) => errors.push(String(reason?.message ?? reason ?? code)))
  for (const { delayMs = 0, events } of sequences) {
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs))
    for (const { type, timestamp, ...event } of events) {
      if (!TYPES.includes(type)) throw new Error(`no such type: ${type}`)
      analytics[type](timestamp === undefined ? event : { ...event, timestamp: new Date(timestamp) })
    }
  }
  await analytics.closeAndFlush()
  return errors.length ? { success: false, error: errors[0], sentBatches } : { success: true, sentBatches }
}

async function settings(cdnHost, writeKey) {
  const answer = await fetch(`${cdnHost}/projects/${writeKey}/settings`)
  if (!answer.ok) throw new Error(`settings: ${answer.status}`)
  const segment = (await answer.json()).integrations['Segment.io']
  if (segment.apiKey !== writeKey) throw new Error(`settings: of another source, ${segment.apiKey}`)
  return `${segment.protocol}://${segment.apiHost.replace(/\/v1$/, '')}`
}

const output = await main().catch((error) => ({ success: false, error: error.message, sentBatches: 0 }))
console.log(JSON.stringify(output))
process.exitCode = output.success ? 0 : 1
