// A thread of its own for work that a text may make take any time: each job has a limit, and a job that exceeds it is given
// up together with the thread.
const FILES = { colour: "colour-worker.js", parse: "parse-worker.js" };
const address = (name) => new URL(`./${FILES[name]}`, import.meta.url).href;
const policy = globalThis.trustedTypes?.createPolicy("aibind", { createScriptURL: address });

export class LimitedWorker {
  #name;
  #limitMs;
  #worker = null;
  #current = null;
  #timer = null;
  #waiting = []; // jobs that the worker has not begun

  /** `name` is one of the files above; a job that takes longer than `limitMs` is given up. */
  constructor(name, limitMs) {
    this.#name = name;
    this.#limitMs = limitMs;
  }

  /** Do one job after those that wait. Resolves with the worker's answer, or with undefined when it took too long. */
  ask(job) {
    return new Promise((resolve) => {
      this.#waiting.push({ job, resolve });
      this.#next();
    });
  }

  #next() {
    if (this.#current || !this.#waiting.length) {
      return;
    }
    this.#current = this.#waiting.shift();
    if (this.#worker) {
      this.#begin();
    } else {
      this.#start(); // and begin when it is ready: loading takes its time
    }
  }

  #start() {
    const started = new Worker(policy ? policy.createScriptURL(this.#name) : address(this.#name), { type: "module" });
    this.#worker = started;
    started.onmessage = ({ data }) => (data === "ready" ? this.#begin() : this.#settle(data));
    started.onerror = (event) => {
      event.preventDefault();
      this.#fail();
    };
  }

  #begin() {
    this.#timer = setTimeout(() => this.#fail(), this.#limitMs);
    this.#worker.postMessage(this.#current.job);
  }

  #fail() {
    this.#worker.terminate();
    this.#worker = null;
    this.#settle(undefined);
  }

  #settle(answer) {
    clearTimeout(this.#timer);
    const { resolve } = this.#current;
    this.#current = null;
    resolve(answer);
    this.#next();
  }
}
