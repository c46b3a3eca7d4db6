// The interfaces of WASI 0.2 that a bundle imports, for one request at a time.
//
// Everything is in memory before the component is called and stays there until it has returned, so no call
// blocks and every pollable is ready. The classes are the resources of the interfaces.

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder();

/** The number of bytes that a stream accepts at once. */
const WRITE_PERMIT = 1 << 20;

/** The largest number of bytes that `crypto.getRandomValues` fills. */
const RANDOM_CHUNK = 1 << 16;

/** Fields that belong to the connection, which components neither see nor set. */
const FORBIDDEN_FIELDS = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

const METHODS = new Set([
  'get', 'head', 'post', 'put', 'delete', 'connect', 'options', 'trace', 'patch',
]);

/** The statuses of responses that have no body. */
const WITHOUT_BODY = new Set([204, 205, 304]);

/** Returns the bytes of all chunks, in one array. */
export function joined(chunks) {
  if (chunks.length === 1) {
    return chunks[0];
  }
  const length = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

// === wasi:io ===

class IoError {
  toDebugString() {
    return 'the stream has failed';
  }
}

class Pollable {
  ready() {
    return true;
  }

  block() {}
}

function poll(pollables) {
  if (pollables.length === 0) {
    throw new Error('poll without pollables');
  }
  return Uint32Array.from(pollables.keys());
}

function closed() {
  return { tag: 'closed' };
}

class InputStream {
  #rest;

  /** @param {Uint8Array} bytes everything that the stream returns */
  constructor(bytes) {
    this.#rest = bytes;
  }

  read(length) {
    if (this.#rest.byteLength === 0) {
      throw closed();
    }
    const end = length < this.#rest.byteLength ? Number(length) : this.#rest.byteLength;
    const bytes = this.#rest.subarray(0, end);
    this.#rest = this.#rest.subarray(end);
    return bytes;
  }

  blockingRead(length) {
    return this.read(length);
  }

  skip(length) {
    return BigInt(this.read(length).byteLength);
  }

  blockingSkip(length) {
    return this.skip(length);
  }

  subscribe() {
    return new Pollable();
  }
}

class OutputStream {
  #sink;

  /** @param {(bytes: Uint8Array) => void} sink receives copies of everything that is written */
  constructor(sink) {
    this.#sink = sink;
  }

  checkWrite() {
    return BigInt(WRITE_PERMIT);
  }

  write(bytes) {
    // The bytes may be a view of the component's memory.
    this.#sink(bytes.slice());
  }

  blockingWriteAndFlush(bytes) {
    this.write(bytes);
  }

  flush() {}

  blockingFlush() {}

  writeZeroes(length) {
    this.#sink(new Uint8Array(Number(length)));
  }

  blockingWriteZeroesAndFlush(length) {
    this.writeZeroes(length);
  }

  splice(source, length) {
    const bytes = source.read(length < WRITE_PERMIT ? length : BigInt(WRITE_PERMIT));
    this.write(bytes);
    return BigInt(bytes.byteLength);
  }

  blockingSplice(source, length) {
    return this.splice(source, length);
  }

  subscribe() {
    return new Pollable();
  }
}

// === wasi:cli/stderr ===

/** Writes the lines of the component to the Worker's log. */
class Stderr {
  #text = '';
  #decoder = new TextDecoder();

  write(bytes) {
    const lines = (this.#text + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#text = lines.pop();
    for (const line of lines) {
      console.error(line);
    }
  }

  /** Writes the last line of a request, which may lack its end. */
  end() {
    const text = this.#text + this.#decoder.decode();
    this.#text = '';
    if (text !== '') {
      console.error(text);
    }
  }
}

export const stderr = new Stderr();

// === wasi:http ===

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** A field's value: visible characters, spaces, tabs, and bytes that are not ASCII. */
function isFieldValue(bytes) {
  return bytes.every((byte) => byte === 9 || (byte >= 32 && byte !== 127));
}

class Fields {
  /** Names as written, and values as bytes. */
  #entries = [];
  #immutable = false;

  static fromList(entries) {
    const fields = new Fields();
    for (const [name, value] of entries) {
      fields.append(name, value);
    }
    return fields;
  }

  /** Returns the headers of a request as fields. */
  static ofRequest(headers) {
    const fields = new Fields();
    for (const [name, value] of headers) {
      if (!FORBIDDEN_FIELDS.has(name)) {
        fields.#entries.push([name, ENCODER.encode(value)]);
      }
    }
    return fields.immutable();
  }

  get(name) {
    return this.#entries.filter(named(name)).map(([, value]) => value);
  }

  has(name) {
    return this.#entries.some(named(name));
  }

  set(name, values) {
    this.#check(name, values);
    this.#entries = this.#entries.filter((entry) => !named(name)(entry));
    this.#push(name, values);
  }

  delete(name) {
    this.#check(name, []);
    this.#entries = this.#entries.filter((entry) => !named(name)(entry));
  }

  append(name, value) {
    this.#check(name, [value]);
    this.#push(name, [value]);
  }

  entries() {
    return this.#entries;
  }

  clone() {
    const fields = new Fields();
    fields.#entries = [...this.#entries];
    return fields;
  }

  /** Makes the fields immutable, and returns them. */
  immutable() {
    this.#immutable = true;
    return this;
  }

  #push(name, values) {
    for (const value of values) {
      this.#entries.push([name, value.slice()]);
    }
  }

  #check(name, values) {
    if (this.#immutable) {
      throw { tag: 'immutable' };
    }
    if (!TOKEN.test(name) || !values.every(isFieldValue)) {
      throw { tag: 'invalid-syntax' };
    }
    if (FORBIDDEN_FIELDS.has(name.toLowerCase())) {
      throw { tag: 'forbidden' };
    }
  }
}

/** Returns a function that tells entries of this name, in any case, from others. */
function named(name) {
  const wanted = name.toLowerCase();
  return ([other]) => other.toLowerCase() === wanted;
}

class IncomingBody {
  #bytes;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  stream() {
    if (this.#bytes === undefined) {
      throw undefined;
    }
    const stream = new InputStream(this.#bytes);
    this.#bytes = undefined;
    return stream;
  }

  static finish() {
    return new FutureTrailers();
  }
}

class FutureTrailers {
  #taken = false;

  subscribe() {
    return new Pollable();
  }

  /** Workers do not receive trailers, so there are none. */
  get() {
    if (this.#taken) {
      return { tag: 'err' };
    }
    this.#taken = true;
    return { tag: 'ok', val: { tag: 'ok', val: undefined } };
  }
}

class IncomingRequest {
  #request;
  #url;
  #body;

  constructor(request, body) {
    this.#request = request;
    this.#url = new URL(request.url);
    this.#body = new IncomingBody(body);
  }

  method() {
    const tag = this.#request.method.toLowerCase();
    return METHODS.has(tag) ? { tag } : { tag: 'other', val: this.#request.method };
  }

  pathWithQuery() {
    return this.#url.pathname + this.#url.search;
  }

  scheme() {
    return { tag: this.#url.protocol === 'https:' ? 'HTTPS' : 'HTTP' };
  }

  authority() {
    return this.#url.host;
  }

  headers() {
    return Fields.ofRequest(this.#request.headers);
  }

  consume() {
    const body = this.#body;
    if (body === undefined) {
      throw undefined;
    }
    this.#body = undefined;
    return body;
  }
}

class OutgoingBody {
  /** The chunks that have been written. */
  chunks = [];
  finished = false;
  #written = false;

  write() {
    if (this.#written) {
      throw undefined;
    }
    this.#written = true;
    return new OutputStream((bytes) => this.chunks.push(bytes));
  }

  /** Ends the body. Trailers are dropped: a Worker cannot send them. */
  static finish(body) {
    body.finished = true;
  }
}

class OutgoingResponse {
  #status = 200;
  #headers;
  #body = new OutgoingBody();
  #taken = false;

  constructor(headers) {
    this.#headers = headers.immutable();
  }

  statusCode() {
    return this.#status;
  }

  setStatusCode(status) {
    if (status < 100 || status > 599) {
      throw undefined;
    }
    this.#status = status;
  }

  headers() {
    return this.#headers;
  }

  body() {
    if (this.#taken) {
      throw undefined;
    }
    this.#taken = true;
    return this.#body;
  }

  /** Returns the response for the Worker's client. */
  toResponse(method) {
    if (this.#taken && !this.#body.finished) {
      throw new Error('the body of the response is incomplete');
    }
    const headers = new Headers();
    for (const [name, value] of this.#headers.entries()) {
      headers.append(name, DECODER.decode(value));
    }
    const isEmpty = method === 'HEAD' || WITHOUT_BODY.has(this.#status);
    const body = isEmpty ? null : joined(this.#body.chunks);
    // A component that names an encoding has encoded the body itself.
    const encodeBody = headers.has('content-encoding') ? 'manual' : 'automatic';
    return new Response(body, { status: this.#status, headers, encodeBody });
  }
}

class ResponseOutparam {
  #exchange;

  constructor(exchange) {
    this.#exchange = exchange;
  }

  static set(outparam, result) {
    outparam.#exchange.answer(result);
  }
}

/** A request and its response. */
export class Exchange {
  #request;
  #body;
  #result;

  constructor(request, body) {
    this.#request = request;
    this.#body = body;
  }

  request() {
    return new IncomingRequest(this.#request, this.#body);
  }

  outparam() {
    return new ResponseOutparam(this);
  }

  answer(result) {
    this.#result = result;
  }

  /** Returns the response that the component has set. */
  response() {
    if (this.#result?.tag !== 'ok') {
      const reason = this.#result === undefined ? 'none' : JSON.stringify(this.#result.val);
      throw new Error(`the component has set no response: ${reason}`);
    }
    return this.#result.val.toResponse(this.#request.method);
  }
}

// === wasi:clocks and wasi:random ===

function now() {
  const milliseconds = Date.now();
  return {
    seconds: BigInt(Math.floor(milliseconds / 1000)),
    nanoseconds: (milliseconds % 1000) * 1e6,
  };
}

function randomBytes(length) {
  const bytes = new Uint8Array(Number(length));
  for (let at = 0; at < bytes.length; at += RANDOM_CHUNK) {
    crypto.getRandomValues(bytes.subarray(at, at + RANDOM_CHUNK));
  }
  return bytes;
}

function randomU64() {
  return new DataView(randomBytes(8).buffer).getBigUint64(0);
}

// === The imports ===

export const imports = {
  'wasi:cli/stderr': { getStderr: () => new OutputStream((bytes) => stderr.write(bytes)) },
  'wasi:clocks/wall-clock': { now, resolution: () => ({ seconds: 0n, nanoseconds: 1e6 }) },
  'wasi:http/types': {
    Fields,
    FutureTrailers,
    IncomingBody,
    IncomingRequest,
    OutgoingBody,
    OutgoingResponse,
    ResponseOutparam,
    httpErrorCode: () => undefined,
  },
  'wasi:io/error': { Error: IoError },
  'wasi:io/poll': { Pollable, poll },
  'wasi:io/streams': { InputStream, OutputStream },
  'wasi:random/insecure': {
    getInsecureRandomBytes: randomBytes,
    getInsecureRandomU64: randomU64,
  },
  'wasi:random/insecure-seed': { insecureSeed: () => [randomU64(), randomU64()] },
  'wasi:random/random': { getRandomBytes: randomBytes, getRandomU64: randomU64 },
};
