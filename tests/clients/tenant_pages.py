"""Opens the pages of a server with tenants in a headless Chromium, as a person with an API key would.

`tenant_pages.py ADDRESS CHROMIUM DIRECTORY MODEL` runs the executable CHROMIUM with the key in the variable WISP_API_KEY,
whose tenant has MODEL, and prints one line of JSON for each step:

- `opened`, `refused`, `entered`, `revoked`, `renewed`, `searched`, `again`, `other_tab`: what the console shows without a
  key, with a wrong one, with the key, after a request with a key that is no longer valid, with the key once more, after a
  search, when it is opened again in the tab, and in another tab;
- `forgotten`, `back`, `docs_back`: what the pages show after the key was forgotten, and after the Back button;
- `sent`, `sent_wrong`: the status of the example request of MODEL, with each key;
- `docs`, `docs_out`, `docs_refused`, `docs_in`: the paths and the messages of the viewer at /docs with the key of the
  console, after a logout, with a wrong key, and with the right one, and `executed`: the status of a request of it;
- `traffic`: the addresses and referrers of all requests, and what the browser has stored.

A screenshot of each state of the console is written to DIRECTORY. Like `docs_page.py`, it needs no package.
"""

import json
import os
import pathlib
import sys
import tempfile

import screenshot
from docs_page import Browser

# The time limit of each wait, in milliseconds.
LIMIT = 60_000

# Runs in each page before its own scripts.
WATCH = """
window.violations = [];
addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective));
window.until = async (name, find) => {
  const deadline = Date.now() + LIMIT;
  while (Date.now() < deadline) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`no ${name}`);
};
""".replace("LIMIT", str(LIMIT))

# What the console shows once the form for the key is in a state.
CONSOLE = """
(async () => {
  const form = await until('form', () => document.querySelector('#key[data-state="STATE"]'));
  const output = form.querySelector('output');
  await until('end of loading', () => output.textContent !== '…');
  return JSON.stringify({
    state: form.dataset.state,
    message: output.textContent,
    field: form.querySelector('input').value,
    asks: form.querySelector('#enter').checkVisibility(),
    forgets: form.querySelector('#forget').checkVisibility(),
    models: [...document.querySelectorAll('#models tbody tr')].map((row) => row.dataset.model),
    address: location.href,
    violations,
  });
})()
"""

# Enters a key, and waits until the page has an answer.
ENTER = """
(async () => {
  const form = await until('form', () => document.querySelector('#key[data-state]'));
  form.querySelector('input').value = KEY;
  form.querySelector('#enter button').click();
  await until('answer', () => !['', '…'].includes(form.querySelector('output').textContent)
    || document.querySelector('#models'));
  return '';
})()
"""

SEND = """
(async () => {
  const form = document.querySelector('section[data-model=MODEL] form.example');
  const output = form.querySelector('output');
  delete output.dataset.status;
  form.querySelector('button').click();
  await until('response', () => output.dataset.status);
  return JSON.stringify({ status: output.dataset.status, response: output.textContent });
})()
"""

SEARCH = """
(async () => {
  document.querySelector('.search input').value = 'no such model';
  document.querySelector('.search button').click();
  return '';
})()
"""

# Replaces the key that the page has by one that is not valid, as a key is that has been revoked.
REPLACE = """
(async () => {
  apiKey.keep(KEY);
  return '';
})()
"""

FORGET = """
(async () => {
  // As with the dialog of the viewer.
  setTimeout(() => document.querySelector('#forget button').click(), 0);
  return '';
})()
"""

# What the viewer shows: once it has paths of the model, or none of it.
DOCS = """
(async () => {
  const paths = () => [...document.querySelectorAll('.opblock-summary-path')]
    .map((path) => path.textContent.replaceAll('\\u200b', ''));
  const has = () => paths().some((path) => path.includes(`/${MODEL}`));
  await until('paths', () => paths().length > 0 && has() === HAS);
  return JSON.stringify({
    paths: paths(),
    responses: document.querySelectorAll('.live-responses-table').length,
    errors: document.querySelector('.errors-wrapper')?.textContent ?? null,
    violations,
  });
})()
"""

# Opens the dialog of the viewer and logs out, or enters a key and returns the message about it.
AUTHORIZE = """
(async () => {
  const button = await until('button', () => document.querySelector('.auth-wrapper .authorize'));
  button.click();
  const dialog = await until('dialog', () => document.querySelector('.dialog-ux .modal-ux'));
  const named = (name) => [...dialog.querySelectorAll('button')].find((one) => one.textContent === name);
  let message = null;
  if (KEY === null) {
    const logout = await until('logout', () => named('Logout'));
    // The page is loaded again, which would end this script before its result is there.
    setTimeout(() => logout.click(), 0);
    return '';
  } else {
    const input = await until('field', () => dialog.querySelector('input'));
    // The viewer follows the events of the field, not its value.
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, KEY);
    input.dispatchEvent(new Event('input', { bubbles: true }));
    named('Authorize').click();
    const answer = () => named('Logout') ?? dialog.querySelector('.errors');
    message = (await until('answer', answer)).textContent;
  }
  named('Close').click();
  return JSON.stringify({ message });
})()
"""

EXECUTE = """
(async () => {
  const path = (block) => block.querySelector('.opblock-summary-path').textContent.replaceAll('\\u200b', '');
  const block = [...document.querySelectorAll('.opblock')].find((one) => path(one) === '/v2/models');
  block.querySelector('.opblock-summary-control').click();
  await until('responses', () => block.querySelector('.responses-wrapper'));
  block.querySelector('button.execute').click();
  const shown = '.live-responses-table tbody .response-col_status';
  const status = await until('status', () => block.querySelector(shown));
  const table = block.querySelector('.live-responses-table');
  return JSON.stringify({ status: status.textContent.trim(), response: table.textContent });
})()
"""

STORED = """
(async () => JSON.stringify({
  session: Object.values(sessionStorage),
  local: Object.values(localStorage),
  cookie: document.cookie,
}))()
"""


class Watched(Browser):
    """A browser whose requests are recorded."""

    def __init__(self, chromium, profile):
        self.requests = []
        super().__init__(chromium, profile)
        self.watch()

    def watch(self):
        for domain in ("Page", "Network"):
            self.call(f"{domain}.enable", self.session)
        self.call("Page.addScriptToEvaluateOnNewDocument", self.session, source=WATCH)

    def message(self):
        message = super().message()
        if message.get("method") == "Network.requestWillBeSent":
            request = message["params"]["request"]
            headers = {name.lower(): value for name, value in request["headers"].items()}
            self.requests.append([request["url"], headers.get("referer")])
        return message

    def run(self, script, **values):
        """Returns the JSON that a script returns, with these values in place of their names."""
        for name, value in values.items():
            script = script.replace(name, value if name == "STATE" else json.dumps(value))
        return json.loads(self.evaluate(script) or "null")


def back(browser, part):
    """Goes back to the last page whose address contains this."""
    history = browser.call("Page.getNavigationHistory", browser.session)
    before = history["entries"][: history["currentIndex"]]
    entry = [entry["id"] for entry in before if part in entry["url"]][-1]
    browser.call("Page.navigateToHistoryEntry", browser.session, entryId=entry)
    browser.loaded()


def browse(browser, address, directory, model):
    key = os.environ["WISP_API_KEY"]
    wrong = "wisp_0000000000000000_" + 64 * "0"
    home = f"http://{address}/"

    def console(name, state):
        shown = browser.run(CONSOLE, STATE=state)
        screenshot.set_screen(browser, 1280, "light")
        (directory / f"console-tenant-{name}.png").write_bytes(screenshot.take(browser).png)
        yield name, shown

    browser.open(home)
    yield from console("opened", "asked")
    browser.run(ENTER, KEY=wrong)
    yield from console("refused", "asked")
    browser.run(ENTER, KEY=key)
    yield from console("entered", "entered")
    yield "sent", browser.run(SEND, MODEL=model)
    browser.run(REPLACE, KEY=wrong)
    yield "sent_wrong", browser.run(SEND, MODEL=model)
    yield from console("revoked", "asked")
    browser.run(ENTER, KEY=key)
    yield from console("renewed", "entered")
    browser.run(SEARCH)
    browser.loaded()
    yield from console("searched", "entered")

    browser.open(f"{home}docs")
    yield "docs", browser.run(DOCS, MODEL=model, HAS=True)
    yield "executed", browser.run(EXECUTE)
    browser.run(AUTHORIZE, KEY=None)
    browser.loaded()
    yield "docs_out", browser.run(DOCS, MODEL=model, HAS=False)
    yield "docs_refused", browser.run(AUTHORIZE, KEY=wrong)
    browser.run(AUTHORIZE, KEY=key)
    yield "docs_in", browser.run(DOCS, MODEL=model, HAS=True)

    browser.open(home)
    yield from console("again", "entered")
    stored = browser.run(STORED)
    first = browser.session
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
    browser.session = attached["sessionId"]
    browser.watch()
    browser.open(home)
    yield from console("other_tab", "asked")
    browser.call("Target.closeTarget", targetId=target)
    browser.session = first

    browser.run(FORGET)
    browser.loaded()
    yield from console("forgotten", "asked")
    back(browser, "/docs")
    yield "docs_back", browser.run(DOCS, MODEL=model, HAS=False)
    back(browser, "search=")
    yield from console("back", "asked")
    yield "traffic", {"requests": browser.requests, "stored": stored}


def main(address, chromium, directory, model):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Watched(chromium, profile)
        try:
            for name, step in browse(browser, address, pathlib.Path(directory), model):
                print(json.dumps({name: step}), flush=True)
        finally:
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
