// Sends the request of a form to the API, and shows the response as text.
for (const form of document.querySelectorAll("form[data-path]")) {
  const button = form.querySelector("button");
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.querySelector("output");
    const body = form.querySelector("textarea").value;
    const headers = { "content-type": "application/json" };
    output.textContent = "…";
    button.disabled = true;
    const started = performance.now();
    try {
      const response = await fetch(form.dataset.path, { method: "POST", headers, body });
      const text = await response.text();
      const took = (performance.now() - started).toFixed(1);
      output.dataset.status = response.status;
      output.textContent = `${response.status} after ${took} ms\n${text}`;
    } catch (error) {
      output.dataset.status = "none";
      output.textContent = `no response: ${error.message}`;
    } finally {
      button.disabled = false;
    }
  });
}
