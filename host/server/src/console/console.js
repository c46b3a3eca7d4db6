// Sends the request of a form to the API, and shows the response as text.
for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.querySelector("output");
    const body = form.querySelector("textarea").value;
    const headers = { "content-type": "application/json" };
    output.textContent = "…";
    try {
      const response = await fetch(form.dataset.path, { method: "POST", headers, body });
      output.dataset.status = response.status;
      output.textContent = `${response.status}\n${await response.text()}`;
    } catch (error) {
      output.dataset.status = "none";
      output.textContent = `no response: ${error.message}`;
    }
  });
}
