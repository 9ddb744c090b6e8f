// What the console does in the browser beside htmx: the dialog, where the focus goes, and copying.
"use strict";

const dialog = document.getElementById("dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  begin();
  if (dialog.contains(event.target) && !dialog.open && dialog.childElementCount > 0) dialog.showModal();
});

document.addEventListener("htmx:afterSettle", (event) => {
  const shown = event.target.isConnected ? event.target : document;
  const attention = shown.querySelector("[data-attention], [data-focus]") ?? (shown.matches?.("[data-focus]") ? shown : null);
  if (attention) attention.focus();
});

function tell(text) {
  const message = document.createElement("p");
  message.className = "message bad";
  message.setAttribute("role", "alert");
  const words = document.createElement("span");
  words.textContent = text;
  message.append(words);
  document.getElementById("trouble")?.replaceChildren(message);
}

// What a proxy answers in the service's place must not take the place of what somebody typed.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.getResponseHeader("cidrgate-page")) return;
  event.detail.shouldSwap = false;
  tell(`The service did not answer as expected (${event.detail.xhr.status}). What you typed is still here: try again.`);
});

document.addEventListener("htmx:sendError", () => {
  tell("The service cannot be reached. What you typed is still here: try again.");
});

// A correction makes the form anew, with what was typed as its defaults: so what each field began with is kept.
const began = new Map();

function keyOf(field) {
  return `${field.form?.getAttribute("action")} ${field.form?.elements.entry?.value ?? ""} ${field.name}`;
}

function fieldsIn(root) {
  return [...root.querySelectorAll("textarea, input:not([type=hidden], [type=checkbox])")].filter((one) => !one.readOnly);
}

function begin() {
  for (const field of fieldsIn(document)) if (!began.has(keyOf(field))) began.set(keyOf(field), field.defaultValue);
}

function isTyped(root) {
  return fieldsIn(root).some((field) => field.value.trim() && field.value !== began.get(keyOf(field)));
}

let discarding = false;

function discard() {
  discarding = true;
  dialog.close();
}

function askBeforeClosing() {
  const asked = document.getElementById("discard");
  if (asked) return asked.querySelector("button").focus();
  const question = document.createElement("div");
  question.id = "discard";
  question.className = "message caution";
  question.setAttribute("role", "alert");
  const words = document.createElement("span");
  words.textContent = "What you typed is not stored yet.";
  const stay = document.createElement("button");
  stay.textContent = "Keep editing";
  stay.addEventListener("click", () => {
    question.remove();
    fieldsIn(dialog)[0]?.focus();
  });
  const drop = document.createElement("button");
  drop.textContent = "Discard it";
  drop.addEventListener("click", discard);
  for (const button of [stay, drop]) Object.assign(button, { type: "button", className: "small" });
  question.append(words, stay, drop);
  dialog.querySelector(".actions").prepend(question);
  stay.focus();
}

document.addEventListener("click", (event) => {
  const closer = event.target.closest("[data-close]");
  if (closer && dialog.contains(closer)) {
    event.preventDefault();
    discard();
  }
});

// A browser closes a dialog at the second Esc whatever a page says, so the key itself is taken.
dialog.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || !isTyped(dialog)) return;
  event.preventDefault();
  askBeforeClosing();
});

// The browser gives the focus back to what opened it. A dialog that is closed in any other way keeps what was typed.
dialog.addEventListener("close", () => {
  if (!discarding && isTyped(dialog)) {
    dialog.showModal();
    askBeforeClosing();
    return;
  }
  discarding = false;
  dialog.replaceChildren();
  began.clear();
  begin();
});

// To leave the page would lose what was typed in it, unless that is what is being sent.
let sending = false;

function isTypedElsewhere(form) {
  return [...document.querySelectorAll("form.stack[method=post]")].some((other) => other !== form && isTyped(other));
}

document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) sending = true;
});

document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (!event.detail.xhr.getResponseHeader("HX-Redirect")) return;
  sending = !isTypedElsewhere(event.detail.elt.closest("form"));
});

window.addEventListener("beforeunload", (event) => {
  if (!sending && isTypedElsewhere(null)) event.preventDefault();
});

begin();

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.textContent = "Copied";
  });
}

document.getElementById("notice")?.focus();
