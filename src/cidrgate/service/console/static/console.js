// What the console does in the browser beside htmx: the dialog, where the focus goes, and copying.
"use strict";

const dialog = document.getElementById("dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  if (dialog.contains(event.target) && !dialog.open && dialog.childElementCount > 0) dialog.showModal();
});

document.addEventListener("htmx:afterSettle", (event) => {
  const shown = event.target.isConnected ? event.target : document;
  const attention = shown.querySelector("[data-attention], [data-focus]") ?? (shown.matches?.("[data-focus]") ? shown : null);
  if (attention && !isField(event.detail.requestConfig?.elt)) attention.focus();
});

// What is asked for while somebody types takes nobody out of the field.
function isField(element) {
  return element?.matches("input, textarea, select") ?? false;
}

// A message appears beside the form that it is about. Any other has its place at the top of the page.
function placeFor(element) {
  return element?.closest(".draft")?.querySelector(".trouble") ?? document.getElementById("trouble");
}

function tell(element, text) {
  const message = document.createElement("p");
  message.className = "message bad";
  message.tabIndex = -1;
  message.setAttribute("role", "alert");
  const words = document.createElement("span");
  words.textContent = text;
  message.append(words);
  placeFor(element).replaceChildren(message);
  if (!isField(element)) message.focus();
}

// What a proxy answers in the service's place must not take the place of what somebody typed.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig, target } = event.detail;
  if (!xhr.getResponseHeader("cidrgate-page")) {
    event.detail.shouldSwap = false;
    tell(requestConfig.elt, `The service did not answer as expected (${xhr.status}). What you typed is still here: try again.`);
  } else if (target.id === "trouble") {
    event.detail.target = placeFor(requestConfig.elt);
  } else {
    placeFor(requestConfig.elt).replaceChildren();
  }
});

document.addEventListener("htmx:sendError", (event) => {
  tell(event.detail.requestConfig.elt, "The service cannot be reached. What you typed is still here: try again.");
});

function fieldsIn(root) {
  return [...root.querySelectorAll("textarea, select, input:not([type=hidden], [type=checkbox])")].filter((one) => !one.readOnly);
}

function plain(text) {
  return text.replaceAll("\r\n", "\n");
}

function defaultOf(field) {
  if (field.type !== "select-one") return field.defaultValue;
  return ([...field.options].find((one) => one.defaultSelected) ?? field.options[0]).value;
}

// A form that the service made anew has what was typed as its defaults, so it also says what it began with.
function isChanged(field) {
  const began = new URLSearchParams(field.form?.elements.began?.value ?? "").get(field.name);
  if (field.type === "radio") return field.checked && (began === null ? !field.defaultChecked : field.value !== began);
  return plain(field.value) !== plain(began ?? defaultOf(field));
}

function isTyped(root) {
  return fieldsIn(root).some(isChanged);
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
});

// To leave the page would lose what was typed in it, unless that is what is being sent.
let sending = false;

function isTypedElsewhere(form) {
  return [...document.querySelectorAll("form.stack[method=post]")].some((other) => other !== form && isTyped(other));
}

window.addEventListener("beforeunload", (event) => {
  if (!sending && isTypedElsewhere(null)) {
    underWay.clear();
    event.preventDefault();
  }
  sending = false;
});

// What somebody types while an answer is under way stays, although the answer makes the form anew.
function typedSince(root, sent) {
  return fieldsIn(root).filter((one) => one.type !== "radio" && sent.has(one.name) && plain(one.value) !== plain(sent.get(one.name)));
}

let kept = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  const { requestConfig, shouldSwap, target } = event.detail;
  if (!shouldSwap || !target.matches(".draft")) return;
  kept = typedSince(target, requestConfig.formData).map((one) => ({ id: one.id, text: one.value, focused: one === document.activeElement }));
});

document.addEventListener("htmx:afterSettle", (event) => {
  for (const { id, text, focused } of kept.splice(0)) {
    const field = document.getElementById(id);
    if (!field) continue;
    field.value = text;
    for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
    if (focused && !event.target.querySelector("[data-attention]")) field.focus();
  }
});

// A form is sent once until its answer is there, or does not come.
const PATIENCE_MS = 20_000;
const underWay = new Map();

function formOf(element) {
  return isField(element) ? null : element.closest("form[method=post]");
}

document.addEventListener("submit", (event) => {
  if (!(performance.now() - underWay.get(event.target) < PATIENCE_MS)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  sending = !isTypedElsewhere(event.target);
  if (event.target.method === "post") underWay.set(event.target, performance.now());
});

document.addEventListener("htmx:beforeRequest", (event) => {
  const form = formOf(event.detail.elt);
  if (form) underWay.set(form, performance.now());
});

document.addEventListener("htmx:beforeOnLoad", (event) => {
  const { elt, requestConfig, xhr } = event.detail;
  if (!xhr.getResponseHeader("HX-Redirect")) return;
  const form = elt.closest("form");
  sending = !isTypedElsewhere(form) && typedSince(form, requestConfig.formData).length === 0;
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.xhr.getResponseHeader("HX-Redirect")) underWay.delete(formOf(event.detail.elt));
});

window.addEventListener("pageshow", () => underWay.clear());

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.textContent = "Copied";
  });
}

document.getElementById("notice")?.focus();
