"""Opens a server's console in a headless Chromium, as a person would, and prints what it shows.

`console_page.py ADDRESS CHROMIUM DIRECTORY` runs the executable CHROMIUM and prints one line of JSON for each step:

- `before`: what the page shows;
- `sent`: the status and the response of the example request of the model `m`, sent twice;
- `after`: what the page shows after that, with the violations of the content security policy on all pages;
- `searched`: the same for a search with the form of the page, and `without`: for the page without scripts;
- `looks`: for each screen and color scheme, the size of the page and the colors of its screenshot, which is written to
  DIRECTORY. A plot is drawn if its rectangle has pixels of the color of its parts.

Like `docs_page.py`, it needs no package.
"""

import json
import pathlib
import sys
import tempfile

import screenshot
from docs_page import Browser

# Runs in each page before its own scripts.
WATCH = """
window.violations = [];
addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective));
"""

# What the page shows, as a person reads it.
SHOWN = """
(async () => {
  const text = (element, name) => element.querySelector(name)?.textContent ?? null;
  const all = (element, name) => [...element.querySelectorAll(name)];
  const table = (element, name) => Object.fromEntries(all(element, `${name} tbody tr`).map((row) => {
    const cells = all(row, 'td:not(.plot)').map((cell) => cell.textContent);
    return [row.querySelector('th').textContent, cells.length === 1 ? cells[0] : cells];
  }));
  const versions = {};
  for (const section of all(document, 'section.version')) {
    versions[`${section.dataset.model} ${section.dataset.version}`] = {
      state: text(section, '.state'),
      reason: text(section, '.reason'),
      backend: text(section, '.backend'),
      button: section.querySelector('form button')?.disabled === false,
      counts: table(section, '.counts'),
      failures: table(section, '.failures'),
      phases: table(section, '.phases'),
      drift: table(section, '.drift'),
      levels: all(section, '.drift tr[data-level]').map((row) => row.dataset.level),
      batches: Object.fromEntries(
        all(section, '.batches').map((batches) => [batches.dataset.graph, table(batches, '')]),
      ),
    };
  }
  const models = {};
  for (const article of all(document, 'article')) {
    models[article.dataset.model] = {
      traffic: text(article, '.traffic'),
      residency: text(article, '.residency'),
      split: all(article, '.split span').map((part) => part.textContent),
      phase: text(article, '.release .phase'),
      events: all(article, '.events li').map((event) => event.textContent),
    };
  }
  return JSON.stringify({
    title: document.title,
    readiness: text(document, '#readiness'),
    server: Object.fromEntries(all(document, '#server div').map((fact) => [text(fact, 'dt'), text(fact, 'dd')])),
    rows: table(document, '#models'),
    skipped: all(document, '#skipped li strong').map((name) => name.textContent),
    images: all(document, 'img').length,
    search: document.querySelector('input').value,
    violations: window.violations ?? null,
    models,
    versions,
  });
})()
"""

# Sends the example request of the model `m`, and waits for its response.
SEND = """
(async () => {
  const form = document.querySelector('section[data-model="m"] form');
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

# Enters a text and submits the form, as its button does.
SEARCH = """
(async () => {
  document.querySelector('.search input').value = 'M';
  document.querySelector('.search button').click();
  return '';
})()
"""

# The size of the page, and the rectangle of the first plot of each kind with the color of its parts.
PLOTS = """
(async () => {
  const color = (text) => text.match(/[0-9]+/g).slice(0, 3).map(Number);
  const page = document.documentElement;
  const plots = {};
  for (const kind of ['phases', 'batches', 'failures', 'drift', 'split']) {
    const plot = document.querySelector(`.${kind} svg:has(rect)`);
    if (!plot) continue;
    // A table that is wider than the screen scrolls within the page.
    plot.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    plots[kind] = plot;
  }
  scrollTo(0, 0);
  const described = Object.entries(plots).map(([kind, plot]) => {
    const { left, top, width, height } = plot.getBoundingClientRect();
    const fill = color(getComputedStyle(plot.querySelector('rect')).fill);
    return [kind, { left, top, width, height, fill }];
  });
  return JSON.stringify({
    width: page.scrollWidth,
    height: page.scrollHeight,
    background: color(getComputedStyle(document.body).backgroundColor),
    text: color(getComputedStyle(document.body).color),
    plots: Object.fromEntries(described),
  });
})()
"""


def shown(browser):
    """Returns what the current page shows."""
    return json.loads(browser.evaluate(SHOWN))


def look(browser, directory, width, scheme):
    """Returns the size of the page, and whether its screenshot has what the page describes."""
    screenshot.set_screen(browser, width, scheme)
    described = json.loads(browser.evaluate(PLOTS))
    image = screenshot.take(browser)
    (directory / f"console-{width}-{scheme}.png").write_bytes(image.png)
    drawn = {}
    for kind, plot in described["plots"].items():
        box = [round(plot[side]) for side in ("left", "top", "width", "height")]
        drawn[kind] = image.colors(*box).get(tuple(plot["fill"]), 0)
    return {
        "screen": width,
        "scheme": scheme,
        "width": described["width"],
        "height": described["height"],
        "image": [image.width, image.height],
        "background": described["background"],
        "corner": image.color(0, image.height - 1),
        "colors": len(image.colors(0, 0, image.width, min(image.height, 400))),
        "plots": drawn,
    }


def main(address, chromium, directory):
    directory = pathlib.Path(directory)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        try:
            browser.call("Page.enable", browser.session)
            browser.call("Page.addScriptToEvaluateOnNewDocument", browser.session, source=WATCH)
            browser.open(f"http://{address}/")
            steps = {"before": shown(browser)}
            browser.evaluate(SEND)
            steps["sent"] = json.loads(browser.evaluate(SEND))
            violations = shown(browser)["violations"]
            browser.open(f"http://{address}/")
            steps["after"] = shown(browser)
            steps["after"]["violations"] += violations
            screens = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]
            steps["looks"] = [look(browser, directory, *screen) for screen in screens]
            browser.evaluate(SEARCH)
            browser.loaded()
            steps["searched"] = shown(browser)
            browser.call("Emulation.setScriptExecutionDisabled", browser.session, value=True)
            browser.open(f"http://{address}/?model=m")
            steps["without"] = shown(browser)
            for name, step in steps.items():
                print(json.dumps({name: step}))
        finally:
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
