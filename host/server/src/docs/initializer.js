// Starts the viewer: the page's policy forbids scripts within it. The document's address is relative,
// so that the page works behind a proxy that adds a prefix. No validator: that would be another server.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});
