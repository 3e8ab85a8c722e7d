"use strict";
for (const table of document.querySelectorAll("table.sort")) {
  const body = table.tBodies[0];
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const th = button.parentElement, column = th.cellIndex;
    const down = th.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => { const c = row.cells[column]; return c.dataset.v === undefined ? c.textContent : c.dataset.v; };
    const number = th.classList.contains("num");
    const rows = Array.from(body.rows, (row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
      const order = number ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0;
      return down ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  });
}
const filter = document.getElementById("filter"), kind = document.getElementById("kind");
if (filter) {
  const rows = document.getElementById("modules").tBodies[0].rows, shown = document.getElementById("shown");
  const texts = new Map(Array.from(rows, (row) => [row, row.textContent.toLowerCase()]));
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const [row, text] of texts) {
      const ok = (kind.value === "" || row.dataset.k.split(" ").includes(kind.value)) && words.every((w) => text.includes(w));
      row.classList.toggle("hide", !ok);
      if (ok) n++;
    }
    shown.textContent = n + " of " + texts.size;
  };
  filter.addEventListener("input", apply);
  kind.addEventListener("change", apply);
  apply();
}
