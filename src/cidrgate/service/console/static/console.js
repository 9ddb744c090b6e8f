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
