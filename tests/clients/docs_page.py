"""Clicks every Execute button of a server's /docs in a headless Chromium.

`docs_page.py ADDRESS CHROMIUM` runs the executable CHROMIUM and prints one line of JSON for each operation on
the page, with its method, path, and the status that the page shows for the prefilled request, or null if the
operation has no Execute button. Chromium is driven by its DevTools protocol over a pair of pipes, so that no
package is needed.
"""

import json
import os
import subprocess
import sys
import tempfile

# The time limit of the whole page, in seconds.
LIMIT = 600

# Expands each operation, clicks its Execute button, if it has one, and waits for the status that the page shows.
# Unloading a model comes last, since the model serves other operations.
CLICK_ALL = """
(async () => {
  const deadline = Date.now() + LIMIT;
  const until = async (name, find) => {
    while (Date.now() < deadline) {
      const found = find();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`no ${name}`);
  };
  await until('operation', () => document.querySelector('.opblock'));
  const text = (block, part) => block.querySelector(`.opblock-summary-${part}`).textContent;
  const path = (block) => text(block, 'path').replaceAll('\\u200b', '');
  const blocks = [...document.querySelectorAll('.opblock')];
  const last = (block) => (path(block).endsWith('/unload') ? 1 : 0);
  blocks.sort((one, other) => last(one) - last(other));
  const found = [];
  for (const block of blocks) {
    const operation = { method: text(block, 'method'), path: path(block), status: null };
    const name = `${operation.method} ${operation.path}`;
    const expand = block.querySelector('.opblock-summary-control');
    expand.click();
    await until(`responses of ${name}`, () => block.querySelector('.responses-wrapper'));
    const execute = block.querySelector('button.execute');
    if (execute) {
      // The viewer fills in the body after it has drawn the operation.
      const bodies = [...block.querySelectorAll('.opblock-section-request-body textarea')];
      await until(`body of ${name}`, () => bodies.every((body) => body.value));
      execute.click();
      const shown = '.live-responses-table tbody .response-col_status, .invalid';
      const status = await until(`status of ${name}`, () => block.querySelector(shown));
      operation.status = status.textContent.trim();
      operation.response = block.querySelector('.live-responses-table')?.textContent.slice(0, 2000);
    }
    found.push(operation);
    expand.click();
  }
  return JSON.stringify(found);
})()
"""


class Browser:
    """A Chromium process and one page in it."""

    def __init__(self, chromium, profile):
        to_browser, self.commands = os.pipe()
        self.events, from_browser = os.pipe()
        self.process = subprocess.Popen(
            [
                # The pipes of the protocol are the descriptors 3 and 4.
                *["sh", "-c", f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}', chromium],
                *["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
                *["--no-first-run", "--disable-background-networking"],
                *[f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            ],
            pass_fds=[to_browser, from_browser],
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.received = b""
        self.last_id = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]

    def call(self, method, session=None, **parameters):
        """Sends a command and returns its result."""
        self.last_id += 1
        command = {"id": self.last_id, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.last_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def message(self):
        """Returns the next message of the browser."""
        while b"\0" not in self.received:
            read = os.read(self.events, 1 << 16)
            if not read:
                raise RuntimeError(f"Chromium ended with {self.process.wait()}")
            self.received += read
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, script):
        """Returns the string to which the promise of a script resolves."""
        evaluated = {"expression": script, "awaitPromise": True}
        result = self.call("Runtime.evaluate", self.session, **evaluated)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"]["value"]

    def open(self, url):
        """Opens a page and waits until it is complete."""
        self.call("Page.enable", self.session)
        self.call("Page.navigate", self.session, url=url)
        self.loaded()

    def loaded(self):
        """Waits until the page that is being opened is complete."""
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def close(self):
        """Ends the browser, whose processes write to the profile until then."""
        try:
            self.call("Browser.close")
        except (OSError, RuntimeError):
            self.process.kill()
        self.process.wait()


def main(address, chromium):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        try:
            browser.open(f"http://{address}/docs")
            script = CLICK_ALL.replace("LIMIT", str(LIMIT * 1000))
            for operation in json.loads(browser.evaluate(script)):
                print(json.dumps(operation))
        finally:
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
