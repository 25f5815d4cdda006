/* The page's side of a model: its download, and the worker that runs it. */
import { readHeader } from "./safetensors.mjs";

const NEEDS =
  "It needs a browser with module workers: Chrome or Edge 100, Firefox 114, " +
  "Safari 15.4, or a later one.";

/**
 * Download a model and make it ready to run.
 *
 * @param {string|URL} url of its safetensors file, absolute or relative to
 *     the page
 * @param {Object} [options]
 * @param {function(number, ?number)} [options.onProgress] is told how many
 *     bytes are there and, once the header is, how many there will be
 * @param {AbortSignal} [options.signal] stops the loading
 * @returns {Promise<{config: Object, run: function, close: function}>}
 *     `config` is the model's `ViTConfig`. `run(pixels, {mask, temperature})`
 *     promises what `ViT.forward` returns, and `ms`, how long it took; answers
 *     come in the order of the calls. `close()` ends the worker.
 * @throws {Error} with a message for the reader; the signal's reason if that
 *     stopped it
 */
export async function loadModel(url, { onProgress, signal } = {}) {
  let worker;
  try {
    signal?.throwIfAborted();
    worker = new ModelWorker();
    const file = await download(url, onProgress, signal);
    const config = await worker.ask({ file }, [file]);
    signal?.throwIfAborted();
    return {
      config,
      run: (pixels, options) => worker.ask({ pixels, options }),
      close: () => worker.end("The model is closed."),
    };
  } catch (cause) {
    worker?.end(cause.message);
    if (signal?.aborted) throw signal.reason;
    const message = `The model ${url} could not be loaded. ${cause.message}`;
    throw new Error(message, { cause });
  }
}

/**
 * Fetch a safetensors file. Its header, not the server, says how long it is:
 * a server that compresses announces another length.
 */
async function download(url, onProgress, signal) {
  const response = await fetch(url, { signal }).catch((cause) => {
    throw new Error("The server cannot be reached.", { cause });
  });
  if (!response.ok) {
    const { status, statusText } = response;
    throw new Error(`The server says: HTTP ${status} ${statusText}`.trim());
  }
  const reader = response.body.getReader();
  const chunks = [];
  let bytes = 0;
  let header = null;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        const message = `The download broke off after ${bytes} bytes.`;
        throw new Error(message, { cause });
      });
      if (done) return await new Blob(chunks).arrayBuffer();
      chunks.push(value);
      bytes += value.length;
      header ??= readHeader(
        new Uint8Array(await new Blob(chunks).arrayBuffer()),
      );
      onProgress?.(bytes, header?.size);
    }
  } finally {
    reader.cancel().catch(() => {}); // whatever is still under way
  }
}

/** A worker that answers each request with a promise. */
class ModelWorker {
  #worker;
  #waiting = new Map();
  #asked = 0;
  #ended = null;

  constructor() {
    try {
      const script = new URL("./worker.mjs", import.meta.url);
      this.#worker = new Worker(script, { type: "module" });
    } catch (cause) {
      throw new Error(`The worker cannot start. ${NEEDS}`, { cause });
    }
    this.#worker.onmessage = ({ data: { id, answer, error } }) => {
      const request = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) request?.resolve(answer);
      else request?.reject(new Error(error));
    };
    this.#worker.onerror = ({ message }) => {
      this.end(`The worker failed${message ? `: ${message}.` : "."} ${NEEDS}`);
    };
  }

  ask(request, given) {
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      const id = this.#asked++;
      this.#worker.postMessage({ id, ...request }, given);
      this.#waiting.set(id, { resolve, reject });
    });
  }

  /** Stop the worker; requests that wait, and later ones, fail. */
  end(message) {
    this.#ended ??= new Error(message);
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
  }
}
