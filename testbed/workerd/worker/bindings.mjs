// What Python sees of a Worker's env, and how a failure of its code is answered.
import { D1Database } from "./meter.mjs";

// Where METER is set, DB is the counting binding and NATIVE_DB the real one.
export function bindingsOf(env) {
  return env.METER ? { ...env, DB: new D1Database(env.DB), NATIVE_DB: env.DB } : env;
}

export function failure(error) {
  console.error(error?.stack ?? error);
  return new Response(String(error?.stack ?? error), { status: 500, headers: { "X-Rig-Failure": "1" } });
}
