// A run over a data set: its rows, some at a time, searched, sorted and filtered by the server.
import { call, download, quiet, role } from "./calling.js";

const LIMIT = 25;
let offset = 0;
let total = 0;

/** Shows the runs, where there are any. open: what a click on a row does. say: tells an error, or null. */
export async function drawRuns(runs, open, say) {
  role("run").hidden = !runs.length;
  if (!runs.length) return;
  role("run-name").append(...runs.map((run) => new Option(`${run.name} (${run.rows} rows)`, run.name)));
  const fill = async () => {
    const body = {
      run: role("run-name").value,
      search: role("run-search").value,
      only: role("run-only").value,
      sort: role("run-sort").value,
      offset,
      limit: LIMIT,
    };
    try {
      const found = await call("api/rows", body, "rows");
      total = found.total;
      role("run-rows").replaceChildren(...found.rows.map((row) => line(row, () => open(body.run, row))));
      role("run-count").textContent = total ? `${offset + 1}–${Math.min(offset + LIMIT, total)} of ${total}` : "no rows";
      role("run-before").disabled = offset === 0;
      role("run-after").disabled = offset + LIMIT >= total;
      say(null);
    } catch (error) {
      if (!quiet(error)) say(error);
    }
  };
  const again = () => ((offset = 0), fill());
  role("run-search").addEventListener("input", again);
  for (const name of ["run-name", "run-only", "run-sort"]) role(name).addEventListener("change", again);
  role("run-before").addEventListener("click", () => ((offset = Math.max(0, offset - LIMIT)), fill()));
  role("run-after").addEventListener("click", () => ((offset += LIMIT), fill()));
  role("run-summary").addEventListener("click", async () => {
    try {
      const { name, content } = await call("api/summary", { run: role("run-name").value }, "summary");
      download(name, content);
    } catch (error) {
      if (!quiet(error)) say(error);
    }
  });
  await fill();
}

function line(row, open) {
  const tr = document.createElement("tr");
  const cell = (text, className = "") => {
    const td = document.createElement("td");
    td.className = className;
    td.dir = "auto";
    td.textContent = text ?? "";
    tr.append(td);
    return td;
  };
  cell(row.row, "number");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = (row.text ?? "").slice(0, 300) || "(no text)";
  button.addEventListener("click", open);
  cell("", "text").append(button);
  cell(row.error_type ? `${row.error_type}: ${row.error}` : row.prediction, row.error_type ? "wrong" : "");
  cell(row.probability === null ? "" : `${(100 * row.probability).toFixed(1)}%`, "number");
  cell(row.label, row.label !== null && row.prediction !== null && row.label !== row.prediction ? "wrong" : "");
  return tr;
}
