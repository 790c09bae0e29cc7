// Every page works without this file. It saves clicks.
"use strict";

// A quantity is sent when it was changed; the button remains for browsers without scripts.
for (const form of document.querySelectorAll("form[data-sends-itself]")) {
  form.querySelector("button").hidden = true;
  form.addEventListener("change", () => {
    if (form.reportValidity()) form.requestSubmit();
  });
}

// A second click does not send a form again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.ariaBusy === "true") event.preventDefault();
  form.ariaBusy = "true";
});
addEventListener("pageshow", () => {
  for (const form of document.forms) form.ariaBusy = null;
});

// The wall is beside the page where there is room, and folded under it where there is none.
if (matchMedia("(max-width: 63.99rem)").matches) {
  document.querySelector(".glass > details").open = false;
}
