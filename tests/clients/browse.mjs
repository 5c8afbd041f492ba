// Opens a page in Chromium and makes the six calls. argv: node_modules, chromium, url.
// Prints {"result", "urls": every address the browser asked, "console": errors and failed requests}.
import { createRequire } from 'node:module'
const [modules, executablePath, url] = process.argv.slice(2)
const { chromium } = createRequire(modules + '/')('playwright-core')
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
const page = await browser.newPage()
const urls = []
const problems = []
let answered = 0
page.on('request', (request) => urls.push(request.url()))
page.on('requestfailed', (request) => problems.push(request.url() + ' ' + request.failure().errorText))
page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
page.on('pageerror', (error) => problems.push(String(error)))
page.on('response', async (response) => {
  if (response.request().method() === 'POST' && response.ok()) {
    const body = JSON.parse(response.request().postData() ?? '{}')
    answered += body.batch ? body.batch.length : body.series ? 0 : 1
    if (answered >= 6) done()
  }
})
let done
const all = new Promise((resolve) => { done = resolve })
await page.goto(url)
const result = await page.evaluate(() => window.six())
await Promise.race([all, page.waitForTimeout(15000)])
await browser.close()
console.log(JSON.stringify({ result, urls, problems, answered }))
