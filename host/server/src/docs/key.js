// The API key of the person at the pages of this server, on a server with tenants. It is kept in the session storage:
// for this tab, until it is closed, and in no address and no cookie.

const apiKey = (() => {
  const NAME = "wisp-api-key";
  const MAX_LENGTH = 200;

  // Other characters do not belong in a header, and the browser's message about them would contain the key.
  const isKey = (text) => typeof text === "string" && text.length <= MAX_LENGTH && /^[!-~]+$/.test(text);

  // A browser may refuse to store anything. The key then lasts as long as the page.
  const stored = (action) => {
    try {
      return action(sessionStorage);
    } catch {
      return null;
    }
  };

  const find = () => {
    const found = stored((storage) => storage.getItem(NAME));
    return isKey(found) ? found : null;
  };

  let current = find();

  // A page that the browser has kept for its Back button may show what belongs to a key that was forgotten since.
  addEventListener("pageshow", (event) => {
    if (event.persisted && find() !== current) location.reload();
  });

  // Returns the headers of a request with this key.
  const headersWith = (key) => (key === null ? {} : { authorization: `Bearer ${key}` });

  return {
    isKey,
    headersWith,
    // Returns the key, or null.
    read: () => current,
    keep: (key) => {
      current = key;
      stored((storage) => storage.setItem(NAME, key));
    },
    forget: () => {
      current = null;
      stored((storage) => storage.removeItem(NAME));
    },
    // Returns whether the server accepts a key. Rejects if that cannot be found out.
    isAccepted: async (key) => {
      if (!isKey(key)) return false;
      const response = await fetch("v1/limits", { headers: headersWith(key), cache: "no-store" });
      if (response.status === 401) return false;
      if (!response.ok) throw new Error(`the server responds with ${response.status}`);
      return true;
    },
  };
})();
