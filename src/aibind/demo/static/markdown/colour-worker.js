// Colours code in a thread of its own: no code, however odd, may stop the page. See colours.js.
import hljs from "../vendor/highlight.js/highlight.js";

/** Return code as HTML in colours; null for a language that is not known, and for code that breaks the highlighter. */
function colour({ code, language }) {
  if (!hljs.getLanguage(language)) {
    return null;
  }
  const { value, errorRaised } = hljs.highlight(code, { language, ignoreIllegals: true });
  return errorRaised ? null : value;
}

self.onmessage = ({ data }) => self.postMessage({ html: colour(data) });
self.postMessage("ready");
