// Starts the viewer: the page's policy forbids scripts within it. The document's address is relative,
// so that the page works behind a proxy that adds a prefix. No validator: that would be another server.

const DOCUMENT = "openapi.json";

// The scheme of the API keys, in the document of a server with tenants.
const SCHEME = "tenantKey";

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

// The key that is entered in the dialog of the viewer is checked, kept for the tab, and sent for the document too: that
// with a key has the models.
const keepKey = () => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (original, system) => async (entered) => {
          const key = entered[SCHEME]?.value?.trim();
          if (key === undefined || key === apiKey.read()) return original(entered);
          const refuse = (message) =>
            system.errActions.newAuthErr({ authId: SCHEME, level: "error", source: "auth", message });
          system.errActions.clear({ authId: SCHEME, type: "auth", source: "auth" });
          try {
            if (!(await apiKey.isAccepted(key))) return refuse("The server does not accept this key.");
          } catch {
            return refuse("The server could not check this key.");
          }
          apiKey.keep(key);
          original({ [SCHEME]: { ...entered[SCHEME], value: key } });
          return system.specActions.download(DOCUMENT);
        },
        // Responses and commands with the key would stay in the viewer, and a document may still be arriving.
        logout: () => () => {
          apiKey.forget();
          location.reload();
        },
      },
    },
  },
});

const viewer = SwaggerUIBundle({
  url: DOCUMENT,
  dom_id: "#viewer",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
  plugins: [executeOnlyExamples, keepKey],
  requestInterceptor: (request) => {
    // The viewer adds the key to all other requests by itself.
    if (request.loadSpec) Object.assign(request.headers, apiKey.headersWith(apiKey.read()));
    return request;
  },
  responseInterceptor: (response) => {
    const isDocument = new URL(response.url, location).pathname.endsWith(`/${DOCUMENT}`);
    if (isDocument && response.status === 401 && apiKey.read() !== null) {
      // The key is not valid any more. Without one there is a document again.
      apiKey.forget();
      location.reload();
    }
    return response;
  },
  onComplete: () => {
    const key = apiKey.read();
    if (key !== null) viewer.preauthorizeApiKey(SCHEME, key);
  },
});
