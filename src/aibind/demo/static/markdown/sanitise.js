// What may be in the page. Everything that is rendered from a text goes through here, last.
import DOMPurify from "../vendor/dompurify/dompurify.js";

const BLOCKS = "blockquote div h1 h2 h3 h4 h5 h6 hr li ol p pre section ul".split(" ");
const TABLES = "table tbody td th thead tr".split(" ");
const WORDS = "a br code em input s span strong sup".split(" ");
const MATHS =
  "math menclose mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none".split(" ");

const MATHML = "http://www.w3.org/1998/Math/MathML";
const ATTRIBUTES = new Map([
  ["a", ["href", "title"]],
  ["div", ["class"]],
  ["input", ["checked", "disabled", "type"]],
  ["li", ["class"]],
  ["ol", ["start"]],
  ["pre", ["data-language"]],
  ["section", ["data-note"]],
  ["span", ["class"]],
  ["sup", ["data-note"]],
  ["td", ["align"]],
  ["th", ["align"]],
]);
const MATHS_ATTRIBUTES =
  "accent accentunder class columnalign columnlines columnspacing columnspan data-style depth display displaystyle fence form height largeop linebreak linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits notation rowlines rowspacing rowspan rspace scriptlevel separator stretchy symmetric voffset width".split(" ");

// The styles that Temml gives its elements. None of them can fetch anything or leave the formula's place.
const STYLES = /^(?:color|background-color|(?:padding|border|margin)(?:-(?:top|right|bottom|left))?|font-(?:style|weight)|math-depth|text-align|width|height)$/;
const STYLE_VALUE = /^(?:(?:-?\d*\.?\d+(?:em|ex|px|pt|mu|%)?|#[\da-f]{3,8}|[a-z]+(?:-[a-z]+)?)(?:\s+|$)){1,4}$/i;

const purify = DOMPurify(window);
purify.addHook("uponSanitizeAttribute", (element, attribute) => {
  const allowed = element.namespaceURI === MATHML ? MATHS_ATTRIBUTES : ATTRIBUTES.get(element.localName);
  if (!allowed?.includes(attribute.attrName)) {
    attribute.keepAttr = false;
  }
});
purify.addHook("afterSanitizeAttributes", (element) => {
  if (element.localName === "a" && element.hasAttribute("href")) {
    element.setAttribute("target", "_blank");
    element.setAttribute("rel", "noopener noreferrer nofollow");
  }
});
const ATTRIBUTE_NAMES = [...new Set([...ATTRIBUTES.values(), MATHS_ATTRIBUTES].flat())];
const CONFIGURATION = {
  ALLOWED_TAGS: [...BLOCKS, ...TABLES, ...WORDS, ...MATHS, "#text"],
  ALLOWED_ATTR: ATTRIBUTE_NAMES,
  ADD_URI_SAFE_ATTR: ATTRIBUTE_NAMES.filter((name) => name !== "href"),
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOWED_NAMESPACES: ["http://www.w3.org/1999/xhtml", MATHML],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** Make elements of HTML, without anything that could act, fetch or deceive. */
export function sanitise(html) {
  const fragment = purify.sanitize(html, CONFIGURATION);
  fragment.querySelectorAll("[data-style]").forEach(applyStyle);
  return document.adoptNode(fragment);
}

/** Make a fragment of each of some pieces of HTML. One call for many is much faster than a call for each. */
export function sanitiseAll(pieces) {
  const whole = sanitise(pieces.map((html) => `<div>${html}</div>`).join(""));
  return [...whole.children].map((wrap) => {
    const fragment = document.createDocumentFragment();
    fragment.append(...wrap.childNodes);
    return fragment;
  });
}

/** Set what is allowed of a formula's styles one by one, as the page's policy allows scripts to. */
function applyStyle(element) {
  for (const declaration of element.getAttribute("data-style").split(";")) {
    const [name, value] = declaration.split(":").map((part) => part.trim());
    if (STYLES.test(name) && STYLE_VALUE.test(value ?? "")) {
      element.style.setProperty(name, value);
    }
  }
  element.removeAttribute("data-style");
}
