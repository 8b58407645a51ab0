// The Worker around the Python one: hands each event to the class Default of the module "entry", as Cloudflare's
// runtime does, or to its function on_fetch when it has no such class.
import { startPython } from "./python.mjs";
import * as cloudflare from "cloudflare:workers";
import { D1Database, readMeter, resetMeter } from "./meter.mjs";

// Where METER is set, DB is the counting binding and NATIVE_DB the real one.
function bindingsOf(env) {
  return env.METER ? { ...env, DB: new D1Database(env.DB), NATIVE_DB: env.DB } : env;
}

function failure(error) {
  console.error(error?.stack ?? error);
  return new Response(String(error?.stack ?? error), { status: 500, headers: { "X-Rig-Failure": "1" } });
}

async function control(request, url) {
  if (request.method === "POST") resetMeter((await request.json()).delayMs ?? 0);
  return Response.json(readMeter());
}

export class StreamObject extends cloudflare.DurableObject {
  async fetch(request) {
    try {
      const python = await startPython(this.env, bindingsOf(this.env));
      this.instance ??= python.pyimport("entry").StreamObject(this.ctx, bindingsOf(this.env));
      const response = await this.instance.fetch(python.pyimport("workers").Request(request));
      return response.js_object ?? response;
    } catch (error) {
      return failure(error);
    }
  }
}

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
