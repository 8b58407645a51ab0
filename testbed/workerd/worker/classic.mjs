// Pyodide before 314 takes the presence of importScripts for a web worker, the one place like this that it knew.
globalThis.importScripts = () => {
  throw new TypeError("importScripts is not available");
};
