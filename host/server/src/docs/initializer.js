// Starts the viewer: the page's policy forbids scripts within it. The document's address is relative,
// so that the page works behind a proxy that adds a prefix. No validator: that would be another server.

// An operation without an example request has no Execute button.
const executeOnlyExamples = () => ({
  statePlugins: {
    spec: {
      wrapSelectors: {
        allowTryItOutFor: (original, system) => (state, path, method) => {
          const document = system.specSelectors.specJson();
          return !document.getIn(["paths", path, method, "x-no-example"]);
        },
      },
    },
  },
});

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
  plugins: [executeOnlyExamples],
});
