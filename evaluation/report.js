"use strict";
// Sorts and filters the table of images. Without it the page shows the same rows in the order of their names.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const order = new Intl.Collator(undefined, { numeric: true });
  const keyOf = (cell, numeric) => {
    const text = cell.dataset.s ?? cell.textContent;
    if (!numeric) return text;
    const value = parseFloat(text);
    return Number.isNaN(value) ? "" : value;
  };

  const sort = (column) => {
    const head = heads[column];
    const numeric = head.classList.contains("n");
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    const rows = [...body.rows].map((row) => [keyOf(row.cells[column], numeric), row]);
    rows.sort(([a], [b]) => {
      // what is not known comes last either way
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (numeric ? a - b : order.compare(a, b));
    });
    for (const other of heads) other.ariaSort = other === head ? (sign > 0 ? "ascending" : "descending") : null;
    body.append(...rows.map(([, row]) => row));
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });

  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  input.type = "search";
  label.className = "filter";
  label.append("Filter ", input, " ", count);
  const only = document.createElement("input");
  only.type = "checkbox";
  const isBad = (row) => row.matches(".failed, .doubtful");
  const filter = () => {
    const wanted = input.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = (only.checked && !isBad(row)) || !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    count.textContent = wanted || only.checked ? `${shown} of ${body.rows.length}` : "";
  };
  for (const control of [input, only]) control.addEventListener("input", filter);
  table.parentElement.before(label);
  if ([...body.rows].some(isBad)) {
    const choice = document.createElement("label");
    choice.className = "filter";
    choice.append(only, " Only doubtful and failed images");
    label.after(choice);
  }
}
// Escape closes a view that is open over the page.
document.addEventListener("keydown", (event) => {
  const close = event.key === "Escape" && document.querySelector("figure:target .close");
  if (close) location.hash = close.hash;
});
