// Calls of tools that wait for the user: what is asked, and the answers that can be given.
import { el, icon } from "./dom.js";

const STATES = { approved: "You have allowed it.", denied: "You have not allowed it." };

/**
 * Make the cards of the calls that wait. `answer(call, given)` is called with what the user decides: true, false, or an
 * object with `args`, `reason` or `retry`, as the server takes it.
 */
export function approvalCards(calls, answer) {
  const isAnswered = calls.every((call) => call.answer); // and the server was killed before it could go on
  return el("div", { class: "message approvals" }, ...calls.map((call, index) => card(call, `approval-${index}`, isAnswered, answer)));
}

function card(call, name, isAnswered, answer) {
  const isUnknown = call.state === "unknown";
  const heading = el("h2", { id: name, tabindex: "-1" }, icon("tool"), isUnknown ? "Run " : "Allow ", el("code", {}, call.name), isUnknown ? " again" : null);
  const parts = [heading];
  if (isUnknown) {
    parts.push(el("p", {}, "The server broke off while it ran. It may have done its work, or a part of it."));
  }
  if (call.answer) {
    parts.push(pretty(call.answer.args ?? call.args), el("p", {}, STATES[call.state]));
    if (isAnswered) {
      parts.push(buttons(button("Go on", "primary", () => answer(call, given(call)))));
    }
  } else {
    parts.push(...questions(call, name, isUnknown, answer));
  }
  return el("section", { class: `approval ${call.state}`, "aria-labelledby": name }, ...parts);
}

function questions(call, name, isUnknown, answer) {
  const shown = pretty(call.args);
  const area = el("textarea", { class: "approval-args", "aria-label": `Arguments of ${call.name}, as JSON`, rows: "4", spellcheck: "false", hidden: true });
  area.value = JSON.stringify(call.args, null, 2);
  const wrong = el("p", { class: "approval-wrong", role: "alert" });
  const reason = el("input", { type: "text", id: `${name}-reason`, maxlength: "500", autocomplete: "off" });
  const run = isUnknown ? { retry: call.attempts } : { approved: true };
  const allow = () => {
    if (area.hidden) {
      answer(call, run);
      return;
    }
    const args = objectOf(area.value);
    wrong.textContent = args ? "" : "These are not the arguments of a call: write a JSON object.";
    if (args) {
      answer(call, { ...run, args });
    } else {
      area.focus();
    }
  };
  const edit = button("Edit the arguments", "", () => {
    area.hidden = false;
    shown.hidden = true;
    edit.hidden = true;
    area.rows = Math.min(area.value.split("\n").length + 1, 14);
    area.focus();
  });
  const deny = () => answer(call, { approved: false, ...(reason.value.trim() ? { reason: reason.value.trim() } : {}) });
  return [
    shown,
    area,
    wrong,
    el("div", { class: "approval-reason" }, el("label", { for: reason.id }, "If not, why (optional)"), reason),
    buttons(button(isUnknown ? "Run it again" : "Allow", "primary", allow), edit, button(isUnknown ? "Leave it" : "Don't allow", "", deny)),
    el("p", { class: "approval-note" }, "It waits, also when you close the page. A new message declines it."),
  ];
}

/** Return the answer of a call as it was given. */
function given({ answer }) {
  return { approved: answer.approved, args: answer.args, reason: answer.reason, ...(answer.retry ? { retry: answer.retry } : {}) };
}

function pretty(args) {
  return el("pre", { tabindex: "0", "aria-label": "Arguments" }, JSON.stringify(args, null, 2));
}

function button(label, kind, onclick) {
  return el("button", { type: "button", class: `button ${kind}`.trim(), onclick }, label);
}

function buttons(...children) {
  return el("div", { class: "approval-buttons" }, ...children);
}

function objectOf(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
