// What the console does in the browser beside htmx: the dialog, where the focus goes, and copying.
"use strict";

const dialog = document.getElementById("dialog");

document.addEventListener("htmx:afterSwap", (event) => {
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

document.addEventListener("click", (event) => {
  const closer = event.target.closest("[data-close]");
  if (closer && dialog.contains(closer)) {
    event.preventDefault();
    dialog.close();
  }
});

// The browser gives the focus back to what opened it.
dialog.addEventListener("close", () => dialog.replaceChildren());

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value);
    button.textContent = "Copied";
  });
}

document.getElementById("notice")?.focus();
