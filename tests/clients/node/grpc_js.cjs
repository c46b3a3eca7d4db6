// Drive a running server with @grpc/grpc-js through the cells of the matrix, and what else it can.
//
//     node grpc_js.cjs PROTO GRPC SLOW_GRPC EXAMPLES CELL...
//
// The client is made from the `.proto` files in PROTO, which are the server's own. As from
// `matrix/cells.py`, a line of JSON comes out for each cell: its name, and what went wrong, or null.

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [PROTO, ADDRESS, SLOW, EXAMPLES, ...ASKED] = process.argv.slice(2);
const DEFINITION = loader.loadSync(["inference.proto", "tensorflow_serving.proto"], {
  includeDirs: [PROTO],
  keepCase: true,
  longs: Number,
  enums: String,
});
const { inference, tensorflow } = grpc.loadPackageDefinition(DEFINITION);
const PLAIN = grpc.credentials.createInsecure();
const GZIP = { "grpc.default_compression_algorithm": 2 };

// === Asking ===

/** The answer to one call, the client closed again. */
async function call(Service, address, method, request, options = {}, begun = () => {}) {
  const client = new Service(address, PLAIN, options.channel ?? {});
  const deadline = Date.now() + (options.timeout ?? 60_000);
  try {
    return await new Promise((resolve, reject) => {
      begun(client[method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer))));
    });
  } finally {
    client.close();
  }
}

const infer = (request, options = {}, begun) =>
  call(inference.GRPCInferenceService, options.address ?? ADDRESS, "ModelInfer", request, options, begun);

async function fails(code, text, promise) {
  await assert.rejects(promise, (error) => {
    assert.equal(grpc.status[error.code], code, error.message);
    assert.ok(error.details.includes(text), error.details);
    return true;
  });
}

/** A tensor's bytes, in their own memory for an array type to look at. */
const aligned = (content) => new Uint8Array(content).buffer;
const bytes = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
const element = (content) => Buffer.concat([bytes(Uint32Array.of(content.length)), content]);

function elements(content) {
  const found = [];
  for (let at = 0; at < content.length; at += 4 + content.readUInt32LE(at)) {
    found.push(content.subarray(at + 4, at + 4 + content.readUInt32LE(at)));
  }
  return found;
}

const A = Float32Array.of(1, 2, 3, 4, 5, 6);
const B = Float32Array.of(0.5, -2, 30, 4, 0.25, -6);

function calc(a, b, shape, more = {}) {
  const inputs = ["a", "b"].map((name) => ({ name, shape, datatype: "FP32" }));
  return { model_name: "calc", inputs, raw_input_contents: [a, b].map(bytes), ...more };
}

function expectCalc(answer, a, b, shape, offset = 1000) {
  assert.deepEqual(
    answer.outputs.map(({ name, datatype }) => [name, datatype]),
    [["sum", "FP32"], ["difference", "FP32"]],
  );
  for (const output of answer.outputs) assert.deepEqual(output.shape, shape);
  const [sum, difference] = answer.raw_output_contents.map((content) => new Float32Array(aligned(content)));
  assert.deepEqual(sum, a.map((value, at) => value + b[at] + offset));
  assert.deepEqual(difference, a.map((value, at) => value - b[at]));
}

const asksCalc = async (more, options) => expectCalc(await infer(calc(A, B, [2, 3], more), options), A, B, [2, 3]);

function double(datatype, shape, content, name = "x", model_name = "double") {
  return { model_name, inputs: [{ name, shape, datatype }], raw_input_contents: [bytes(content)] };
}

const LOOP = {
  model_name: "hostile",
  inputs: [{ name: "behaviour", shape: [1], datatype: "BYTES", contents: { bytes_contents: [Buffer.from("loop")] } }],
};

/** Relays connections to an address, and counts the bytes of each direction. */
async function metered(address, work) {
  const counts = { sent: 0, received: 0 };
  const [host, port] = address.split(":");
  const relay = net.createServer((near) => {
    const far = net.connect(Number(port), host);
    near.on("data", (piece) => (counts.sent += piece.length)).on("error", () => far.destroy());
    far.on("data", (piece) => (counts.received += piece.length)).on("error", () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise((resolve) => relay.listen(0, "127.0.0.1", resolve));
  try {
    await work(`127.0.0.1:${relay.address().port}`);
  } finally {
    relay.close();
  }
  return counts;
}

// === Cells ===

const CELLS = {
  async JSON() {
    const inputs = [["a", A], ["b", B]].map(([name, values]) => ({
      name,
      shape: [2, 3],
      datatype: "FP32",
      contents: { fp32_contents: [...values] },
    }));
    expectCalc(await infer({ model_name: "calc", inputs }), A, B, [2, 3]);
  },

  async binary() {
    await asksCalc();
  },

  async gzip() {
    const zeros = new Float32Array(32_768);
    const counts = await metered(ADDRESS, async (address) => {
      const answer = await infer(calc(zeros, zeros, [2, 16_384]), { address, channel: GZIP });
      expectCalc(answer, zeros, zeros, [2, 16_384]);
    });
    assert.ok(counts.sent > 0 && counts.sent < 32_768 && counts.received < 32_768, JSON.stringify(counts));
  },

  async versioned() {
    for (const [model_version, offset] of [["1", 0], ["2", 1000]]) {
      const answer = await infer(calc(A, B, [2, 3], { model_version }));
      assert.equal(answer.model_version, model_version);
      expectCalc(answer, A, B, [2, 3], offset);
    }
    await fails("NOT_FOUND", "'calc' version 7 is not found", infer(calc(A, B, [2, 3], { model_version: "7" })));
  },

  async error() {
    const x = Float32Array.of(1, 1, 1, 1);
    await fails("NOT_FOUND", "Request for unknown model: 'nope' is not found", infer(double("FP32", [1, 4], x, "x", "nope")));
    await fails("INVALID_ARGUMENT", "[1, 3]", infer(double("FP32", [1, 3], x.subarray(1))));
    await fails("INVALID_ARGUMENT", "`z`", infer(double("FP32", [1, 4], x, "z")));
    const service = inference.GRPCInferenceService;
    await fails("UNIMPLEMENTED", "shared memory", call(service, ADDRESS, "SystemSharedMemoryRegister", {}));
    assert.equal((await call(service, ADDRESS, "ServerReady", {})).ready, true);
  },

  async BYTES() {
    const pictures = [7, 3].map((digit) => readFileSync(path.join(EXAMPLES, `digits/samples/${digit}.png`)));
    const answer = await infer({
      model_name: "digits",
      inputs: [{ name: "image", shape: [2], datatype: "BYTES" }],
      raw_input_contents: [Buffer.concat(pictures.map(element))],
    });
    const at = answer.outputs.findIndex(({ name }) => name === "label");
    const labels = elements(answer.raw_output_contents[at]).map(String);
    assert.deepEqual(answer.outputs[at].shape, [2, 3]);
    assert.deepEqual([labels[0], labels[3]], ["7", "3"]);
  },

  async FP16() {
    const x = Float16Array.of(1, -2.5, 0.1, 30_000);
    const answer = await infer(double("FP16", [1, 4], x, "x", "half"));
    assert.equal(answer.outputs[0].datatype, "FP16");
    assert.deepEqual(new Float16Array(aligned(answer.raw_output_contents[0])), x.map((value) => 2 * value));
  },

  async "zero-size"() {
    const none = new Float32Array(0);
    expectCalc(await infer(calc(none, none, [2, 0])), none, none, [2, 0]);
  },

  async "two outputs"() {
    await asksCalc();
    const answer = await infer(calc(A, B, [2, 3], { outputs: [{ name: "difference" }] }));
    assert.deepEqual(answer.outputs.map(({ name }) => name), ["difference"]);
    assert.equal(answer.raw_output_contents.length, 1);
  },

  async cancel() {
    const late = infer(LOOP, { address: SLOW, timeout: 1000 });
    await fails("DEADLINE_EXCEEDED", "", late);
    await fails("CANCELLED", "", infer(LOOP, { address: SLOW }, (begun) => begun.cancel()));
    await asksCalc();
  },

  // === Besides ===

  /** Requests that fail and others on one stream, each answered under its own id. */
  async stream() {
    const client = new inference.GRPCInferenceService(ADDRESS, PLAIN);
    const stream = client.ModelStreamInfer({ deadline: Date.now() + 60_000 });
    const answers = [];
    const ended = new Promise((resolve, reject) => {
      stream.on("data", (answer) => answers.push(answer)).on("end", resolve).on("error", reject);
    });
    for (let id = 0; id < 9; id++) {
      const version = id === 4 ? "7" : id % 2 ? "1" : "2";
      stream.write(calc(A, B, [2, 3], { id: String(id), model_version: version }));
    }
    stream.end();
    await ended;
    client.close();
    assert.equal(answers.length, 9);
    for (const [id, { error_message, infer_response }] of answers.entries()) {
      if (id === 4) {
        assert.ok(error_message.includes("version 7 is not found"), error_message);
        continue;
      }
      assert.ok(!error_message, error_message);
      assert.equal(infer_response.id, String(id));
      expectCalc(infer_response, A, B, [2, 3], id % 2 ? 0 : 1000);
    }
  },

  /** Predict, a status and a failure in TensorFlow Serving's protocol. */
  async "TensorFlow Serving"() {
    const { PredictionService, ModelService } = tensorflow.serving;
    const tensor_shape = { dim: [{ size: 2 }, { size: 3 }] };
    const tensor = (values) => ({ dtype: "DT_FLOAT", tensor_shape, tensor_content: bytes(values) });
    const predict = (name, version) =>
      call(PredictionService, ADDRESS, "Predict", {
        model_spec: { name, version: { value: version } },
        inputs: { a: tensor(A), b: { dtype: "DT_FLOAT", tensor_shape, float_val: [...B] } },
      });
    const { outputs, model_spec } = await predict("calc", 1);
    assert.equal(model_spec.version.value, 1);
    const values = ({ tensor_content, float_val }) =>
      tensor_content?.length ? new Float32Array(aligned(tensor_content)) : Float32Array.from(float_val);
    assert.deepEqual(values(outputs.sum), A.map((value, at) => value + B[at]));
    assert.deepEqual(values(outputs.difference), A.map((value, at) => value - B[at]));
    await fails("NOT_FOUND", "`nope`", predict("nope", 1));
    const status = await call(ModelService, ADDRESS, "GetModelStatus", { model_spec: { name: "calc" } });
    const states = status.model_version_status.map(({ version, state }) => [version, state]);
    assert.deepEqual(states.sort(), [[1, "AVAILABLE"], [2, "AVAILABLE"]]);
  },
};

async function main() {
  for (const cell of ASKED) {
    let error = null;
    try {
      await CELLS[cell]();
    } catch (failure) {
      error = failure.stack;
    }
    console.log(JSON.stringify({ cell, error }));
  }
}

main();
