"""Opens a server's console in a headless Chromium, and sends the example request of its first form twice.

`console_page.py ADDRESS CHROMIUM` runs the executable CHROMIUM and prints three lines of JSON: what the page shows,
the status and the response of the second request, and what the page shows after that. Like `docs_page.py`, it needs
no package.
"""

import json
import sys
import tempfile

from docs_page import Browser

# What the page shows, as a person reads it.
SHOWN = """
(async () => {
  const text = (section, name) => section.querySelector(name)?.textContent ?? null;
  const models = {};
  for (const section of document.querySelectorAll('section')) {
    const counts = {};
    for (const row of section.querySelectorAll('.counts tr')) {
      counts[row.querySelector('th').textContent] = row.querySelector('td').textContent;
    }
    models[`${section.dataset.model} ${section.dataset.version}`] = {
      state: text(section, '.state'),
      reason: text(section, '.reason'),
      backend: text(section, '.backend'),
      form: section.querySelector('form') !== null,
      bars: section.querySelectorAll('svg rect').length,
      batches: section.querySelectorAll('.batches tbody tr').length,
      counts,
    };
  }
  const background = getComputedStyle(document.querySelector('svg rect')).fill;
  const errors = background === 'rgb(59, 125, 216)' ? 0 : 1;
  return JSON.stringify({ readiness: text(document, '#readiness'), models, errors });
})()
"""

# Sends the request of the first form, and waits for its response.
SEND = """
(async () => {
  const form = document.querySelector('form');
  const output = form.querySelector('output');
  delete output.dataset.status;
  const answered = new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      if (output.dataset.status && output.textContent !== '…') resolve();
    });
    observer.observe(output, { attributes: true, childList: true, characterData: true, subtree: true });
  });
  form.querySelector('button').click();
  await answered;
  return JSON.stringify({ status: output.dataset.status, response: output.textContent });
})()
"""


def main(address, chromium):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        try:
            browser.open(f"http://{address}/")
            print(browser.evaluate(SHOWN))
            browser.evaluate(SEND)
            print(browser.evaluate(SEND))
            browser.open(f"http://{address}/")
            print(browser.evaluate(SHOWN))
        finally:
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
