// Every page works without this file. It saves clicks and scrolling.
"use strict";

// A second click does not send a form again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.ariaBusy === "true") event.preventDefault();
  form.ariaBusy = "true";
  sessionStorage.setItem("place", `${location.pathname} ${scrollY}`);
});
addEventListener("pageshow", () => {
  for (const form of document.forms) form.ariaBusy = null;
});

// The page after a form begins where the form was, if it is the same page.
const [path, height] = (sessionStorage.getItem("place") ?? "").split(" ");
sessionStorage.removeItem("place");
if (path === location.pathname) scrollTo({ top: Number(height), behavior: "instant" });

// The wall is beside the page where there is room, and folded under it where there is none.
if (matchMedia("(max-width: 63.99rem)").matches) {
  document.querySelector(".glass > details").open = false;
}
