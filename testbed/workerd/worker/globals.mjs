// Evaluated before Pyodide: while its module is evaluated, Pyodide looks at these to find out where it runs.
globalThis.self ??= globalThis;
globalThis.location ??= { href: "http://python.invalid/", toString: () => "http://python.invalid/" };

// workerd knows few events, and refuses to listen to others.
const listen = globalThis.addEventListener;
globalThis.addEventListener = (type, listener) => {
  try {
    listen(type, listener);
  } catch {
    // nothing of that kind will ever happen here
  }
};

// Newer compatibility dates have a global process, and Pyodide would take workerd for Node.
globalThis.process = undefined;
