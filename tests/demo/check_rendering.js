// Renders texts at once and as they grow, and returns what is wrong with what is in the page then. See test_rendering_fuzz.py.
async (cases) => {
  const { MarkdownView, showMarkdown } = await import("/static/markdown/view.js");
  const HTML = new Set("a blockquote br code div em h1 h2 h3 h4 h5 h6 hr input li ol p pre s section span strong sup table tbody td th thead tr ul".split(" "));
  const MATHS = new Set("math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none".split(" "));
  const NAMES = new Set("align aria-label checked class data-language disabled hidden href id rel start tabindex target title type value".split(" "));
  const FORBIDDEN_IN_MATHS = /^(on.*|href|src|xlink:.*|id|data-.*|action.*)$/;
  const STYLE = /^(?:(?:color|background-color|padding|border|margin|font-style|font-weight|math-depth|text-align|width|height)[-a-z]*: [-#\w\s.%(),]+;\s*)*$/;

  const wrong = (root) => {
    const found = [];
    for (const element of root.querySelectorAll("*")) {
      if (element.closest(".code-head")) continue; // the page's own, checked below
      const isMaths = element.namespaceURI.endsWith("MathML");
      if (!(isMaths ? MATHS : HTML).has(element.localName) || !(isMaths || element.namespaceURI.endsWith("xhtml"))) found.push(element.outerHTML);
      for (const { name, value } of element.attributes) {
        const fine = isMaths ? !FORBIDDEN_IN_MATHS.test(name) && (name !== "style" || STYLE.test(value)) : NAMES.has(name);
        if (!fine || /^on/i.test(name)) found.push(`${element.localName} ${name}=${value}`);
      }
      if (element.hasAttribute("href") && !element.matches('[href^="#x-"]')) {
        const scheme = /^(https?:|mailto:)/i.exec(element.getAttribute("href"))?.[1].toLowerCase();
        const fine = scheme && [scheme, ":"].includes(element.protocol); // ":" where the rest is no address at all
        if (!fine || element.rel !== "noopener noreferrer nofollow" || element.target !== "_blank") found.push(element.outerHTML);
      }
      if (element.localName === "input" && !(element.type === "checkbox" && element.disabled)) found.push(element.outerHTML);
    }
    for (const named of root.querySelectorAll("h1, h2, h3, h4, h5, h6, th, a[href]")) {
      if (!named.textContent.trim()) found.push(`without words: ${named.outerHTML}`);
    }
    for (const head of root.querySelectorAll(".code-head")) {
      if (head.querySelectorAll("span, button, svg, path").length !== 4 || head.querySelectorAll("*").length !== 4) found.push(head.outerHTML);
    }
    return found;
  };

  window.canary = 0;
  const faults = [];
  for (const [text, cuts] of cases) {
    const [whole, grown] = [0, 1].map(() => document.body.appendChild(document.createElement("div")));
    const once = new MarkdownView(whole, () => {}, "x");
    once.append(text);
    once.end();
    const view = new MarkdownView(grown, () => {}, "x");
    let from = 0;
    const everywhere = text.length <= 60 ? [...text].map((_, index) => index / text.length) : [];
    for (const cut of [...cuts.concat(everywhere).map((part) => Math.round(part * text.length)).sort((a, b) => a - b), text.length]) {
      view.append(text.slice(from, cut));
      view.flush();
      from = cut;
      wrong(grown).forEach((what) => faults.push(["while it grew", text, what]));
    }
    view.end();
    for (const each of [once, view]) while (!each.isComplete) await new Promise((resolve) => setTimeout(resolve));
    wrong(whole).forEach((what) => faults.push(["at once", text, what]));
    if (whole.innerHTML !== grown.innerHTML) faults.push(["differs", text, whole.innerHTML, grown.innerHTML]);
    whole.querySelectorAll("a[href^='#x-']").forEach((link) => link.click());
    whole.remove();
    grown.remove();
  }
  await new Promise((resolve) => setTimeout(resolve, 20)); // pictures that fail say so later
  if (window.canary) faults.push(["a script ran", cases.map(([text]) => text).join("\n---\n")]);
  return faults;
}
