// Before the first paint: the reader's choice of light or dark, where the browser keeps one.
"use strict";
document.documentElement.classList.add("js");
try {
  const kept = localStorage.getItem("protemb-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* storage is closed to this page */ }
