// Tables that sort: a press on a heading sorts by it, another turns the order; missing values last.
function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
}

function sort(table, head) {
  const column = head.cellIndex;
  const order = head.ariaSort === "ascending" ? "descending" : "ascending";
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column].dataset.sort;
  const rows = [...table.tBodies[0].rows];
  const [known, missing] = [rows.filter((r) => value(r) !== undefined), rows.filter((r) => value(r) === undefined)];
  known.sort((a, b) => sign * compare(value(a), value(b)));
  table.tBodies[0].append(...known, ...missing);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.ariaSort = order;
  document.getElementById("live").textContent = `sorted by ${head.textContent.trim()}, ${order}`;
}

for (const table of document.querySelectorAll("table.sortable"))
  for (const head of table.tHead.rows[0].cells)
    head.firstElementChild.addEventListener("click", () => sort(table, head));
