// Chromium, told what to do by browser.py: a JSON command a line on stdin, a JSON answer a line on stdout.
// argv: node_modules, chromium.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const [modules, executablePath] = process.argv.slice(2)
const { chromium } = createRequire(modules + '/')('playwright-core')
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    // Nothing but this machine can be reached, whatever a page asks for.
    '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'],
})
const context = await browser.newContext()
const page = await context.newPage()
const asked = []
const problems = []
context.on('request', (request) => asked.push({ method: request.method(), url: request.url() }))
page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
page.on('pageerror', (error) => problems.push(String(error)))

const commands = {
  goto: ({ url }) => page.goto(url).then(() => null),
  evaluate: ({ script }) => page.evaluate(script),
  offline: ({ offline }) => context.setOffline(offline),
  seen: () => ({ asked, problems }),
}
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  let answer
  try {
    answer = { result: (await commands[command.do](command)) ?? null }
  } catch (error) {
    answer = { error: String(error) }
  }
  console.log(JSON.stringify(answer))
}
await browser.close()
