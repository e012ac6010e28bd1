"use strict";
(() => {
  const spoken = document.getElementById("spoken");

  // Tables: a button in each heading; what was not measured stays last.
  const value = (row, column, numeric) => {
    const cell = row.cells[column];
    const key = cell.dataset.sort ?? cell.textContent.trim(); // left out where it is what the cell says
    if (!numeric) return cell.classList.contains("missing") ? null : cell.textContent.toLowerCase();
    return key === "" || Number.isNaN(Number(key)) ? null : Number(key);
  };
  const sort = (heading) => {
    const body = heading.closest("table").tBodies[0];
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const up = before ? before === "descending" : !numeric;
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = Array.from(body.rows, (row) => [value(row, heading.cellIndex, numeric), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
    spoken.textContent = `sorted by ${heading.textContent.trim()}, ${up ? "ascending" : "descending"}`;
  };
  for (const button of document.querySelectorAll("thead button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  // Crops: the slider says where the left picture ends.
  for (const figure of document.querySelectorAll(".compare")) {
    const stage = figure.querySelector(".stage");
    const slider = stage.querySelector("input");
    const tag = stage.querySelector(".left-tag");
    const swap = figure.querySelector(".swap");
    const move = () => {
      stage.style.setProperty("--split", `${slider.value}%`);
      slider.setAttribute("aria-valuetext", `${slider.value} % ${tag.textContent}`);
    };
    slider.addEventListener("input", move);
    swap.addEventListener("click", () => {
      const clean = swap.getAttribute("aria-pressed") !== "true";
      swap.setAttribute("aria-pressed", String(clean));
      stage.querySelector(".clean").hidden = !clean;
      stage.querySelector(".degraded").hidden = clean;
      tag.textContent = clean ? "clean" : "degraded";
      move();
    });
    move();
  }

  // Light and dark: the system's choice until the reader makes one, kept where storage is allowed.
  const theme = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = (name) => {
    try {
      if (name) localStorage.setItem("theme", name);
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };
  let chosen = stored();
  const apply = () => {
    const dark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    theme.textContent = dark ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Switch to ${dark ? "light" : "dark"} colours`);
  };
  theme.addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    stored(chosen);
    apply();
  });
  system.addEventListener("change", apply);
  theme.hidden = false;
  apply();
})();
