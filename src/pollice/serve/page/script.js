// The page of `pollice serve`. Whatever comes from a file, a person or the service is put on the
// page as text, never as markup: only textContent is written.
"use strict";

const SHOWN_AT_ONCE = 20;
const CHARACTERS_A_CALL = 200000;
const TRIES = 5;
const TELLING = 10;
const FORMULA = /^'*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;
const NEGATIVE = /^-\d+(\.\d+)?([eE][+-]?\d+)?$/;
const USUAL_SEPARATORS = [",", "\t", ";"];

const known = { models: [], text_columns: ["text"], id_columns: ["id"], texts_a_call: 32 };
const work = { table: null, judged: [], opinions: [], shown: SHOWN_AT_ONCE, stopped: false, opinion: 0, explained: 0 };

const byId = (id) => document.getElementById(id);

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function showProblem(error) {
  byId("problem").textContent = error ? error.message : "";
  byId("problem").hidden = !error;
}

// ---- The service

function messageOf(content, status) {
  const found = content && (content.error || content.message || content.detail);
  if (typeof found === "string") return found;
  if (found && typeof found.message === "string") return found.message;
  return `The service answered with status ${status}.`;
}

async function call(path, body) {
  const options = {};
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service cannot be reached. Is it still running?");
  }
  const content = await response.json().catch(() => null);
  if (!response.ok) {
    const error = new Error(messageOf(content, response.status));
    const busy = [429, 503].includes(response.status);
    error.wait = busy ? Number(response.headers.get("Retry-After")) || 1 : 0;
    throw error;
  }
  return content;
}

// Half a surrogate pair, as a cut emoji leaves it, is no text that can be sent.
function wellFormed(text) {
  return text.toWellFormed ? text.toWellFormed() : text;
}

async function callWhenFree(path, body) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await call(path, body);
    } catch (error) {
      if (!error.wait || left <= 1 || work.stopped) throw error;
      await new Promise((go) => setTimeout(go, error.wait * 1000));
    }
  }
}

async function learnModels() {
  try {
    Object.assign(known, await call("/page/models"));
    showProblem(null);
  } catch (error) {
    showProblem(error);
    return;
  }
  byId("report-link").hidden = !known.report;
  byId("model").replaceChildren(...known.models.map((name) => make("option", name, { value: name })));
}

// ---- One opinion

function surest(answer) {
  return Math.max(0, ...Object.values(answer.probabilities || {}));
}

function card(model, answer, text) {
  const article = make("article", undefined, { class: "card" });
  article.append(make("h3", model));
  if (answer.error) {
    article.append(make("p", answer.error, { class: "note" }));
    return article;
  }
  article.append(make("p", answer.abstained ? "no answer: too unsure" : answer.label, { class: "label" }));
  const list = make("dl");
  for (const [label, value] of Object.entries(answer.probabilities)) {
    const meter = make("meter", undefined, { min: 0, max: 1, value, "aria-hidden": "true" });
    const bar = make("dd");
    bar.append(meter);
    list.append(make("dt", label), bar, make("dd", value.toFixed(3)));
  }
  article.append(list);
  const cut = answer.truncated ? "The text was cut: its end or middle was not read." : "The whole text was read.";
  article.append(make("p", cut, { class: "note" }));
  const button = make("button", "Explain", { type: "button", "aria-label": `Explain the answer of ${model}` });
  button.addEventListener("click", () => explain(model, text));
  article.append(button);
  return article;
}

async function judgeOpinion(event) {
  event.preventDefault();
  const text = wellFormed(byId("opinion").value);
  const status = byId("opinion-status");
  byId("explanation").replaceChildren();
  if (!text.trim()) {
    status.textContent = "Write a text first.";
    byId("opinion").focus();
    return;
  }
  showProblem(null);
  status.textContent = "Judging…";
  // The button stays as it is, since one that is disabled would lose the focus of a keyboard.
  work.opinion += 1;
  work.explained += 1; // an explanation of the text before comes too late
  const turn = work.opinion;
  const judgeWith = async (model) => {
    try {
      const { answers } = await call("/page/judge", { model, texts: [text] });
      return answers[0];
    } catch (error) {
      return { error: error.message };
    }
  };
  const answers = await Promise.all(known.models.map(judgeWith));
  if (turn !== work.opinion) return;
  byId("answers").replaceChildren(...known.models.map((model, place) => card(model, answers[place], text)));
  status.textContent = `Judged by ${count(known.models.length, "predictor", "predictors")}.`;
  const first = answers.find((answer) => !answer.error);
  if (first) work.opinions.unshift({ id: "", text, answer: first, right: "" });
  showCheck();
}

function mark(stretch) {
  if (!stretch.shade) return document.createTextNode(stretch.text);
  const kind = stretch.shade > 0 ? "for" : "against";
  const strength = Math.abs(stretch.shade);
  const element = make("mark", stretch.text, { class: `${kind}-${strength}`, title: signed(stretch.weight) });
  element.append(make("sup", (stretch.shade > 0 ? "+" : "−").repeat(strength)));
  return element;
}

function signed(weight) {
  return `${weight < 0 ? "−" : "+"}${Math.abs(weight).toFixed(2)}`;
}

function legend(label) {
  const line = make("p", "Legend: ", { class: "note" });
  const speaksFor = make("mark", `speaks for ${label}`, { class: "for-2" });
  speaksFor.append(make("sup", "++"));
  const against = make("mark", "against it", { class: "against-2" });
  against.append(make("sup", "−−"));
  line.append(speaksFor, " ", against, " The more signs, the more. Plain words say little, or were not looked at.");
  return line;
}

async function explain(model, text) {
  const area = byId("explanation");
  work.explained += 1;
  const turn = work.explained;
  area.replaceChildren(make("p", `Explaining the answer of ${model}…`, { class: "note" }));
  try {
    const found = await call("/page/explain", { model, text });
    if (turn !== work.explained) return;
    const shaded = make("p", undefined, { class: "shaded", dir: "auto" });
    shaded.append(...found.stretches.map(mark));
    const telling = found.stretches.filter((each) => each.weight);
    telling.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
    const list = make("ol", undefined, { class: "weights", "aria-label": "The words that moved the answer most" });
    list.append(...telling.slice(0, TELLING).map((each) => make("li", `${signed(each.weight)} ${each.text}`)));
    const how = found.exact ? "exact" : "each part left out, and the rest judged again";
    area.replaceChildren(
      make("h3", `What moved ${model} to ${found.label} (${found.probability.toFixed(3)})`),
      shaded,
      legend(found.label),
      make("p", `Log-odds of ${found.label} (${how}):`, { class: "note" }),
      list,
    );
    if (found.truncated) area.append(make("p", "The text was cut: what was cut moved nothing.", { class: "note" }));
  } catch (error) {
    if (turn === work.explained) area.replaceChildren(make("p", error.message, { class: "note" }));
  }
}

// ---- Tables: a file becomes {columns, rows}, each row a list of cells

function parseSeparated(text, separator) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endRow = () => {
    row.push(cell);
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
    cell = "";
  };
  for (let place = 0; place < text.length; place += 1) {
    const letter = text[place];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[place + 1] === '"') {
        cell += '"';
        place += 1;
      } else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === separator) {
      row.push(cell);
      cell = "";
    } else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && text[place + 1] === "\n") place += 1;
      endRow();
    } else cell += letter;
  }
  if (quoted) throw new Error("Expected every quoted cell to end, but one does not. Check the quotation marks.");
  if (cell || row.length) endRow();
  return rows;
}

function parseJsonLines(text) {
  const objects = [];
  text.split(/\r?\n/).forEach((line, place) => {
    if (!line.trim()) return;
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      value = null;
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) {
      throw new Error(`Expected a JSON object on every line, but line ${place + 1} is none.`);
    }
    objects.push(value);
  });
  const columns = [...new Set(objects.flatMap((value) => Object.keys(value)))];
  const cell = (value) => (value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
  return { columns, rows: objects.map((value) => columns.map((name) => cell(value[name]))) };
}

function parsePlainLines(text) {
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  return { columns: ["text"], rows: lines.map((line) => [line]) };
}

function separatorOf(text) {
  const head = text.split(/\r?\n/, 1)[0];
  const counts = USUAL_SEPARATORS.map((separator) => head.split(separator).length - 1);
  const most = Math.max(...counts);
  return most ? USUAL_SEPARATORS[counts.indexOf(most)] : ",";
}

function hasUsualHeader(text) {
  const names = parseHead(text);
  return names.some((name) => known.text_columns.includes(name.trim().toLowerCase()));
}

function parseHead(text) {
  try {
    return parseSeparated(text.split(/\r?\n/, 1)[0], separatorOf(text))[0] || [];
  } catch {
    return [];
  }
}

function parseTable(name, text) {
  const ending = name.toLowerCase().split(".").pop();
  if (["parquet", "gz", "bz2", "xlsx", "zip"].includes(ending)) {
    throw new Error(`Expected CSV, TSV, JSON Lines or plain lines, but found .${ending}. Use \`pollice predict\` for it.`);
  }
  if (["jsonl", "ndjson"].includes(ending) || text.trimStart().startsWith("{")) return parseJsonLines(text);
  if (!["csv", "tsv", "tab"].includes(ending) && !hasUsualHeader(text)) return parsePlainLines(text);
  const rows = parseSeparated(text, ["tsv", "tab"].includes(ending) ? "\t" : separatorOf(text));
  const columns = rows.shift() || [];
  const written = columns.some((column) => column.startsWith("probability:"));
  const restored = (cell) => (written && /^'+[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(cell) ? cell.slice(1) : cell);
  return { columns, rows: rows.map((row) => columns.map((_, place) => restored(row[place] || ""))) };
}

function guessColumn(table) {
  const lower = table.columns.map((name) => name.trim().toLowerCase());
  for (const usual of known.text_columns) if (lower.includes(usual)) return lower.indexOf(usual);
  const lengths = table.columns.map((_, place) => table.rows.slice(0, 200).reduce((sum, row) => sum + row[place].length, 0));
  return lengths.indexOf(Math.max(...lengths));
}

function takeTable(name, text) {
  showProblem(null);
  try {
    const table = parseTable(name, text);
    if (!table.rows.length) throw new Error("Expected rows, but found none.");
    work.table = table;
    const options = table.columns.map((column, place) => make("option", column || `column ${place + 1}`, { value: place }));
    byId("column").replaceChildren(...options);
    byId("column").value = String(guessColumn(table));
    byId("found").textContent =
      `${name}: ${count(table.rows.length, "row", "rows")}. Columns found: ${table.columns.join(", ")}.`;
    byId("file-form").hidden = false;
    byId("file-status").textContent = "";
    byId("progress").value = 0;
  } catch (error) {
    work.table = null;
    byId("file-form").hidden = true;
    byId("found").textContent = "";
    showProblem(error);
  }
}

async function takeFile(file) {
  if (!file) return;
  try {
    const bytes = await file.arrayBuffer();
    takeTable(file.name, new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const unreadable = error instanceof TypeError;
    showProblem(unreadable ? new Error(`Expected ${file.name} in UTF-8, but it is not. Convert it first.`) : error);
  }
}

// ---- Judging a file

function nextBatch(rows, start) {
  let characters = 0;
  let end = start;
  while (end < rows.length && end - start < Math.min(32, known.texts_a_call)) {
    characters += rows[end].text.length;
    if (end > start && characters > CHARACTERS_A_CALL) break;
    end += 1;
  }
  return rows.slice(start, end);
}

async function judgeFile(event) {
  event.preventDefault();
  const place = Number(byId("column").value);
  const ids = work.table.columns.findIndex((name) => known.id_columns.includes(name.trim().toLowerCase()));
  const rows = work.table.rows.map((row, number) => ({ id: ids < 0 ? String(number) : row[ids], text: wellFormed(row[place]) }));
  const model = byId("model").value;
  setBusy(true);
  showProblem(null);
  work.judged = [];
  byId("progress").max = rows.length;
  const say = (end) => {
    byId("progress").value = work.judged.length;
    byId("file-status").textContent = `${work.judged.length.toLocaleString("en")} of ${count(rows.length, "row", "rows")} judged${end}`;
  };
  try {
    while (work.judged.length < rows.length && !work.stopped) {
      const batch = nextBatch(rows, work.judged.length);
      const { answers } = await callWhenFree("/page/judge", { model, texts: batch.map((row) => row.text) });
      batch.forEach((row, number) => work.judged.push({ ...row, answer: answers[number], right: "" }));
      say("…");
    }
    say(work.judged.length < rows.length ? ": stopped." : ".");
  } catch (error) {
    say(".");
    showProblem(error);
  }
  setBusy(false);
  work.shown = SHOWN_AT_ONCE;
  showCheck();
}

function setBusy(busy) {
  const focused = document.activeElement;
  if (busy) work.stopped = false;
  byId("judge-file").disabled = busy;
  byId("stop").disabled = !busy;
  byId("download").disabled = busy || !work.judged.length;
  // A button that is disabled loses the focus: the next useful one takes it.
  if (busy && focused === byId("judge-file")) byId("stop").focus();
  if (!busy && focused === byId("stop")) byId(work.judged.length ? "download" : "judge-file").focus();
}

// ---- Files to keep

function cell(value) {
  const plain = String(value);
  const disarmed = FORMULA.test(plain) && !NEGATIVE.test(plain) ? `'${plain}` : plain;
  return /[",\r\n]/.test(disarmed) ? `"${disarmed.replaceAll('"', '""')}"` : disarmed;
}

function labelsOf(rows) {
  return [...new Set(rows.flatMap((row) => Object.keys(row.answer.probabilities || {})))];
}

function save(name, header, lines) {
  const text = [header, ...lines].map((line) => line.map(cell).join(",")).join("\r\n");
  const address = URL.createObjectURL(new Blob([`${text}\r\n`], { type: "text/csv;charset=utf-8" }));
  const link = make("a", "", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function downloadAnswers() {
  const labels = labelsOf(work.judged);
  const header = ["id", "text", "label", ...labels.map((label) => `probability:${label}`), "truncated", "error"];
  const lines = work.judged.map(({ id, text, answer }) => [
    id,
    text,
    answer.error || answer.abstained ? "" : answer.label,
    ...labels.map((label) => answer.probabilities?.[label] ?? ""),
    answer.error ? "" : answer.truncated,
    answer.error || "",
  ]);
  save("judged.csv", header, lines);
}

function downloadKnown() {
  const rows = [...work.opinions, ...work.judged].filter((row) => row.right);
  const labels = labelsOf(rows);
  // The columns of probabilities tell pollice that it may take apostrophes before formulas away.
  const header = ["text", "label", ...labels.map((label) => `probability:${label}`)];
  const lines = rows.map((row) => [row.text, row.right, ...labels.map((label) => row.answer.probabilities[label] ?? "")]);
  save("known.csv", header, lines);
}

// ---- Correcting by hand

function checkRow(row, number, labels) {
  const line = make("tr");
  const text = make("td");
  text.append(make("span", row.text, { class: "text", dir: "auto" }));
  const answer = make("td", row.answer.abstained ? "no answer" : `${row.answer.label} ${surest(row.answer).toFixed(2)}`);
  const choice = make("td");
  const select = make("select", undefined, { "aria-label": `Right label of row ${number + 1}: ${row.text.slice(0, 60)}` });
  select.append(make("option", "not checked", { value: "" }), ...labels.map((label) => make("option", label, { value: label })));
  select.value = row.right;
  select.addEventListener("change", () => {
    row.right = select.value;
    sayChecked();
  });
  choice.append(select);
  line.append(text, answer, choice);
  return line;
}

function showCheck() {
  const uncertain = work.judged.filter((row) => !row.answer.error).sort((a, b) => surest(a.answer) - surest(b.answer));
  const rows = [...work.opinions, ...uncertain];
  const labels = labelsOf(rows);
  byId("check-empty").hidden = rows.length > 0;
  byId("check-area").hidden = rows.length === 0;
  const shown = rows.slice(0, work.shown);
  byId("check-rows").replaceChildren(...shown.map((row, number) => checkRow(row, number, labels)));
  byId("more").hidden = rows.length <= work.shown;
  sayChecked();
}

function sayChecked() {
  const checked = [...work.opinions, ...work.judged].filter((row) => row.right).length;
  byId("known").disabled = checked === 0;
  byId("check-status").textContent = `${count(checked, "row", "rows")} checked.`;
}

// ---- Start

function start() {
  byId("opinion-form").addEventListener("submit", judgeOpinion);
  byId("opinion").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("opinion-form").requestSubmit();
  });
  byId("file").addEventListener("change", (event) => takeFile(event.target.files[0]));
  byId("read-pasted").addEventListener("click", () => takeTable("The pasted rows", byId("pasted").value));
  byId("file-form").addEventListener("submit", judgeFile);
  byId("stop").addEventListener("click", () => {
    work.stopped = true;
  });
  byId("download").addEventListener("click", downloadAnswers);
  byId("known").addEventListener("click", downloadKnown);
  byId("more").addEventListener("click", () => {
    work.shown += SHOWN_AT_ONCE;
    showCheck();
  });
  const drop = byId("drop");
  const over = (event) => {
    event.preventDefault();
    drop.classList.toggle("over", event.type === "dragover");
  };
  drop.addEventListener("dragover", over);
  drop.addEventListener("dragleave", over);
  drop.addEventListener("drop", (event) => {
    over(event);
    takeFile(event.dataTransfer.files[0]);
  });
  learnModels();
}

start();
