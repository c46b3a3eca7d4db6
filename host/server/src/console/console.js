// Sends the example requests of the page, and on a server with tenants asks for an API key, with which it loads the page.

// Sends the request of a form to the API, and shows the response as text.
async function send(form) {
  const button = form.querySelector("button");
  const output = form.querySelector("output");
  const body = form.querySelector("textarea").value;
  const headers = { "content-type": "application/json", ...apiKey.headersWith(apiKey.read()) };
  output.textContent = "…";
  button.disabled = true;
  const started = performance.now();
  try {
    const response = await fetch(form.dataset.path, { method: "POST", headers, body });
    const text = await response.text();
    const took = (performance.now() - started).toFixed(1);
    output.dataset.status = response.status;
    output.textContent = `${response.status} after ${took} ms\n${text}`;
    if (response.status === 401) askForKey("The server does not accept this key any more.");
  } catch (error) {
    output.dataset.status = "none";
    output.textContent = `no response: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

function enableForms() {
  for (const form of document.querySelectorAll("form[data-path]")) {
    form.querySelector("button").disabled = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form);
    });
  }
}

// The form for the key, or null on a server without tenants.
const keyForm = document.querySelector("#key");

// The parts of the page that depend on the key.
const PARTS = ["header", "main"];

// The parts as they were without a key, while those of a key are shown.
let withoutKey = null;

function show(parts) {
  PARTS.forEach((name, index) => document.querySelector(name).replaceWith(parts[index]));
  enableForms();
}

// Forgets the key and what was loaded with it, and shows the form with a message.
function askForKey(message) {
  if (keyForm === null) return;
  apiKey.forget();
  if (withoutKey !== null) show(withoutKey);
  withoutKey = null;
  showKey(message);
}

function showKey(message) {
  const isEntered = apiKey.read() !== null;
  keyForm.dataset.state = isEntered ? "entered" : "asked";
  keyForm.querySelector("#enter").hidden = isEntered;
  keyForm.querySelector("#forget").hidden = !isEntered;
  keyForm.querySelector("output").textContent = message;
}

// Loads the page of the tenant with this key, and shows its content in place of what is shown. The parser of the request
// makes the document, because the page's policy forbids to make markup of text; it runs no scripts.
function load(key) {
  const request = new XMLHttpRequest();
  // The path is that of the console, whatever address the browser has made of it: the key is for no other server.
  request.open("GET", `/${location.search}`);
  request.responseType = "document";
  request.setRequestHeader("accept", "text/html");
  request.setRequestHeader("authorization", `Bearer ${key}`);
  request.addEventListener("loadend", () => {
    if (apiKey.read() !== key) return;
    const loaded = PARTS.map((name) => request.response?.querySelector(name) ?? null);
    if (request.status === 401) return askForKey("The server does not accept this key.");
    if (request.status !== 200 || loaded.includes(null)) {
      return showKey(request.status === 0 ? "no response" : `the server responds with ${request.status}`);
    }
    withoutKey ??= PARTS.map((name) => document.querySelector(name).cloneNode(true));
    show(loaded);
    showKey("");
  });
  showKey("…");
  request.send();
}

function startKeys() {
  for (const button of keyForm.querySelectorAll("button")) button.disabled = false;
  const input = keyForm.querySelector("input");
  keyForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!apiKey.isKey(key)) return askForKey("This has not the form of a key.");
    input.value = "";
    apiKey.keep(key);
    load(key);
  });
  keyForm.querySelector("#forget button").addEventListener("click", () => {
    apiKey.forget();
    location.assign("/");
  });
  const key = apiKey.read();
  if (key !== null) load(key);
  else showKey("");
}

enableForms();
if (keyForm !== null) startKeys();
