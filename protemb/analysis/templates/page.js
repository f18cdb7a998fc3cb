"use strict";
(() => {
  // ---- light and dark
  const root = document.documentElement;
  document.getElementById("_theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    try { localStorage.setItem("protemb-theme", root.dataset.theme); } catch { /* for now, then */ }
  });

  // ---- contents: closed where they would fill a phone's screen
  const contents = document.querySelector("nav details");
  const wide = matchMedia("(min-width: 68rem)");
  const fit = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();

  // ---- tables: click a heading to sort, again to turn round; unknown cells stay last
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const sort = (heading) => {
    const table = heading.closest("table"), place = heading.cellIndex;
    const order = heading.ariaSort === "ascending" ? "descending" : "ascending";
    for (const other of heading.parentElement.cells) other.ariaSort = "none";
    heading.ariaSort = order;
    const numeric = heading.matches(".number, .interval");
    const rows = [...table.tBodies[0].rows].map((row) => {
      const cell = row.cells[place];
      if (cell.dataset.value === "") return { row, key: null };
      return { row, key: numeric ? Number(cell.dataset.value) : cell.textContent };
    });
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      return sign * (numeric ? a.key - b.key : compare(a.key, b.key));
    });
    table.tBodies[0].append(...rows.map(({ row }) => row));
  };
  for (const heading of document.querySelectorAll("thead th")) {
    heading.querySelector("button").addEventListener("click", () => sort(heading));
  }

  // ---- code: copy
  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => copy(button));
  }
})();
