// Durable Objects in Python: a JavaScript class each, whose objects hand their events and remote calls to an object of
// the Python class of that name in the module "entry", as Cloudflare's runtime does.
import * as cloudflare from "cloudflare:workers";
import { bindingsOf, failure } from "./bindings.mjs";
import { countEvent, countStorage } from "./meter.mjs";
import { startPython } from "./python.mjs";

async function answer(made, method, values) {
  countEvent(method);
  const { python, object } = await made;
  const workers = python.pyimport("workers");
  if (method === "fetch") {
    try {
      const response = await object.fetch(workers.Request(values[0]));
      return response.js_object ?? response;
    } catch (error) {
      return failure(error);
    }
  }
  const { python_from_rpc: toPython, python_to_rpc: toJavaScript } = python.pyimport("workers.rpc");
  return toJavaScript(await object[method](...values.map((value) => toPython(value))));
}

export function objectClass(name) {
  return class extends cloudflare.DurableObject {
    constructor(ctx, env) {
      super(ctx, env);
      const bindings = bindingsOf(env);
      if (env.METER) countStorage(ctx);
      const made = startPython(env, bindings).then((python) => ({ python, object: python.pyimport("entry")[name](ctx, bindings) }));
      made.catch(() => {}); // whoever asks the object something is told
      return new Proxy(this, {
        get(target, property) {
          if (typeof property !== "string" || property in target || property === "then") return Reflect.get(target, property);
          return (...values) => answer(made, property, values);
        },
      });
    }
  };
}
