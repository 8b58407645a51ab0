// The Worker around the Python one: hands each event to the class Default of the module "entry", as Cloudflare's
// runtime does, or to its function on_fetch when it has no such class.
import { startPython } from "./python.mjs";
import { bindingsOf, failure } from "./bindings.mjs";
import { readMeter, resetMeter } from "./meter.mjs";

async function control(request, url) {
  if (request.method === "POST") resetMeter((await request.json()).delayMs ?? 0);
  return Response.json(readMeter());
}

export * from "./objects.mjs";

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname === "/.rig/meter") return control(request, url);
    try {
      const python = await startPython(env, bindingsOf(env));
      const entry = python.pyimport("entry");
      const bindings = bindingsOf(env);
      if (entry.Default === undefined) return await entry.on_fetch(request, bindings, ctx);
      const response = await entry.Default(ctx, bindings).fetch(python.pyimport("workers").Request(request));
      return response.js_object ?? response;
    } catch (error) {
      return failure(error);
    }
  },

  async scheduled(controller, env, ctx) {
    const python = await startPython(env, bindingsOf(env));
    const bindings = bindingsOf(env);
    await python.pyimport("entry").Default(ctx, bindings).scheduled(controller, bindings, ctx);
  },
};
