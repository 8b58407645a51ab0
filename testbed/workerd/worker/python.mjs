// Starts CPython (Pyodide) in this isolate, once, with what Cloudflare's own loader gives to a Python Worker:
// the modules that workers-runtime-sdk imports, and the site packages. Cloudflare's loader fetches its Pyodide over the
// network; this one has it from npm, as modules of the Worker.
import "./globals.mjs";
import "./classic.mjs";
import * as cloudflare from "cloudflare:workers";
import createPyodideModule from "./pyodide.asm.mjs";
import compiledPyodide from "./pyodide.asm.wasm";
import { loadPyodide } from "./pyodide.mjs";
import site from "./site.zip";
import stdlib from "./stdlib.zip";

const BASE = "http://python.invalid/";

// Pyodide loads its parts with fetch and compiles them: here they are modules, and compiled already.
function giveParts(lock) {
  const network = globalThis.fetch;
  const parts = {
    "pyodide.asm.wasm": () => new Response(null, { headers: { "Content-Type": "application/wasm" } }),
    "python_stdlib.zip": () => new Response(stdlib),
    "pyodide-lock.json": () => new Response(lock),
  };
  globalThis.fetch = (input, init) => {
    const url = typeof input === "string" ? input : (input.url ?? String(input));
    const part = url.startsWith(BASE) ? parts[url.slice(BASE.length)] : undefined;
    return part ? Promise.resolve(part()) : network(input, init);
  };
}

// workerd compiles no WebAssembly at run time, except through its unsafe-eval binding, which exists only locally.
// Pyodide needs it for its trampolines and for extension modules.
function allowCompiling(unsafeEval) {
  const { Module, instantiate } = WebAssembly;
  const toModule = (source) => (source instanceof Module ? source : unsafeEval.newWasmModule(source));
  WebAssembly.Module = new Proxy(Module, { construct: (_target, [source]) => toModule(source) });
  WebAssembly.compile = (source) => Promise.resolve(toModule(source));
  WebAssembly.instantiate = async (source, imports) => {
    const module = toModule(source);
    const instance = await instantiate(module, imports);
    return source instanceof Module ? instance : { module, instance };
  };
  WebAssembly.instantiateStreaming = async (_response, imports) => ({
    module: compiledPyodide,
    instance: await instantiate(compiledPyodide, imports),
  });
}

// Python destroys an awaitable that it passed to JavaScript when the call returns: whoever keeps it keeps a copy.
function keepingWaitUntil(waitUntil) {
  return (awaitable) => {
    const kept = awaitable?.copy?.() ?? awaitable;
    waitUntil(
      Promise.resolve(kept)
        .catch((error) => console.error("waitUntil:", error))
        .finally(() => kept?.destroy?.()),
    );
  };
}

async function start(env, bindings) {
  const began = Date.now();
  allowCompiling(env.UNSAFE_EVAL);
  globalThis._createPyodideModule = createPyodideModule;
  const { version, python, platform, abi } = env.PYODIDE;
  const info = { arch: "wasm32", platform, version, python, abi_version: abi };
  const lock = JSON.stringify({ info, packages: {} });
  giveParts(lock);
  const py = await loadPyodide({
    indexURL: BASE,
    packageBaseUrl: BASE,
    stdLibURL: BASE + "python_stdlib.zip",
    createPyodideModule,
    lockFileContents: lock,
  });
  const folder = py.runPython("import site; site.getsitepackages()[0]");
  py.unpackArchive(site, "zip", { extractDir: folder });
  const workers = { ...cloudflare, env: bindings, waitUntil: keepingWaitUntil(cloudflare.waitUntil) };
  py.registerJsModule("_cloudflare_compat_flags", { python_request_headers_preserve_commas: true });
  py.registerJsModule("_pyodide_entrypoint_helper", {
    cloudflareWorkersModule: workers,
    doAnImport: async (name) => (name === "cloudflare:workers" ? workers : await import(name)),
    patchWaitUntil(ctx) {
      if (!Object.hasOwn(ctx, "waitUntil")) ctx.waitUntil = keepingWaitUntil(ctx.waitUntil.bind(ctx));
    },
  });
  py.runPython("import importlib; importlib.invalidate_caches()");
  console.log(`Python ${python} started in ${Date.now() - began} ms`);
  return py;
}

let starting;

// `bindings` is what Python sees as the env of the module cloudflare:workers.
export function startPython(env, bindings) {
  starting ??= start(env, bindings);
  return starting;
}
