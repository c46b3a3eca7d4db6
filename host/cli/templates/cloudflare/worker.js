// The entry module of a Worker that answers requests with a bundle made by `wisp bundle --target cloudflare`.
//
// The bundle is a component that exports wasi:http/incoming-handler and computes synchronously, so one call of
// it answers one request: the body of the request is read first, and the response is sent when it is complete.

import { keepInstance, maxBodyBytes, modules } from './bundle.js';
import { instantiate } from './component.js';
import { Exchange, imports, joined, stderr } from './wasi.js';

/** The instance that answers the next request, if instances are kept. */
let kept;

export default {
  async fetch(request) {
    const body = await readBody(request);
    const exchange = new Exchange(request, body);
    try {
      const handler = kept ?? newHandler();
      // An instance that traps is in an unknown state, and is not used again.
      kept = undefined;
      handler.handle(exchange.request(), exchange.outparam());
      if (keepInstance) {
        kept = handler;
      }
      return exchange.response();
    } catch (error) {
      stderr.end();
      // Nobody but the reader of the Worker's log learns the reason.
      console.error(`the model's component has failed: ${error?.stack ?? error}`);
      return failure(502, 'the model failed to answer the request');
    } finally {
      stderr.end();
    }
  },
};

function newHandler() {
  const instance = instantiate((name) => modules[name], imports);
  return instance.incomingHandler;
}

/**
 * Reads the body of a request, at most one byte more than the component accepts: it refuses what is longer, and
 * the rest would only take the Worker's memory.
 */
async function readBody(request) {
  const chunks = [];
  let length = 0;
  const reader = request.body?.getReader();
  while (reader && length <= maxBodyBytes) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    chunks.push(value);
    length += value.byteLength;
  }
  if (length > maxBodyBytes) {
    await reader.cancel();
  }
  return joined(chunks);
}

function failure(status, message) {
  return Response.json({ error: message }, { status });
}
