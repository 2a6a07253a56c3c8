"use strict";
(() => {
  const number = (cell) => (cell.dataset.sort === undefined ? NaN : Number(cell.dataset.sort));
  const text = (cell) => cell.textContent.trim();
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function sortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...body.rows];
        const numeric = rows.some((row) => row.cells[column].dataset.sort !== undefined);
        rows.sort((a, b) => {
          const [x, y] = [a.cells[column], b.cells[column]];
          if (!numeric) return (up ? 1 : -1) * collator.compare(text(x), text(y));
          const [p, q] = [number(x), number(y)];
          if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q);
          return up ? p - q : q - p;
        });
        body.append(...rows);
      });
    });
  }

  function filterable(form) {
    const table = document.getElementById(form.dataset.for);
    const [input, count] = [form.querySelector("input"), form.querySelector(".count")];
    const selects = [...form.querySelectorAll("select")];
    const rows = [...table.tBodies[0].rows];
    const apply = () => {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        const fits =
          row.textContent.toLowerCase().includes(wanted) &&
          selects.every((select) => !select.value || text(row.cells[select.dataset.column]) === select.value);
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = shown;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
  }

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    target.scrollIntoView();
  }

  document.querySelectorAll("table.rows").forEach(sortable);
  document.querySelectorAll("form.controls").forEach(filterable);
  addEventListener("hashchange", reveal);
  reveal();
})();
