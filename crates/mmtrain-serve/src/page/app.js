// The page: shows a medium, asks the model, writes its answer as text, draws the boxes in it.
// What the model says is never markup: it only ever becomes the text of an element.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const BIGGEST = 23 * 1024 * 1024;
const at = (id) => document.getElementById(id);

const state = { model: "", key: "", medium: null, turns: [], boxes: [], asking: null };

// ---- the server

function headers(more) {
  const all = { ...more };
  if (state.key) all.Authorization = "Bearer " + state.key;
  return all;
}

// The message of an error, whatever shape it has.
async function problem(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return "the server answered " + response.status;
  }
}

async function connect() {
  for (;;) {
    let response;
    try {
      response = await fetch("v1/models", { headers: headers() });
    } catch {
      say("The server does not answer.");
      return;
    }
    if (response.status === 401) {
      await askKey(Boolean(state.key));
      continue;
    }
    if (!response.ok) {
      say(await problem(response));
      return;
    }
    state.model = (await response.json()).data[0].id;
    at("model").textContent = state.model;
    document.title = state.model + " – mmtrain";
    return;
  }
}

function askKey(wrong) {
  const dialog = at("ask-key");
  if (wrong) at("key-note").textContent = "That was not the key. Please try again.";
  at("key").value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      state.key = at("key").value.trim();
      at("key").value = "";
      resolve();
    }, { once: true });
  });
}

// ---- what is shown

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function show(file) {
  const kind = ["image", "video", "audio"].find((kind) => file.type.startsWith(kind + "/"));
  if (!kind) return say("That is neither a picture nor a clip nor a sound.");
  if (file.size > BIGGEST) return say("That file is too large: at most 23 MiB.");
  clearMedium();
  const address = URL.createObjectURL(file);
  const frame = document.createElement("div");
  frame.className = "frame";
  const element = document.createElement(kind === "image" ? "img" : kind);
  element.src = address;
  if (kind === "image") element.alt = "The picture that the model is shown: " + file.name;
  else element.controls = true;
  frame.append(element);
  at("shown").append(frame);
  const medium = { kind, file, address, frame, element };
  state.medium = medium;
  state.turns = [];
  at("turns").replaceChildren();
  at("drop").classList.add("full");
  at("media-bar").hidden = false;
  at("name").textContent = file.name;
  at("prompt").focus();
  say("");
  medium.url = await dataUrl(file);
}

function clearMedium() {
  if (state.medium) URL.revokeObjectURL(state.medium.address);
  state.medium = null;
  state.boxes = [];
  at("shown").replaceChildren();
  at("drop").classList.remove("full");
  at("media-bar").hidden = true;
  at("file").value = "";
}

// ---- boxes, as models write them: [x1, y1, x2, y2], or (x1,y1),(x2,y2)

const NUMBER = String.raw`\s*(-?\d+(?:\.\d+)?)\s*`;
const SQUARE = String.raw`\[${NUMBER},${NUMBER},${NUMBER},${NUMBER}\]`;
const POINTS = String.raw`\(${NUMBER},${NUMBER}\)\s*,\s*\(${NUMBER},${NUMBER}\)`;

function boxesIn(text) {
  const found = [];
  for (const match of text.matchAll(new RegExp(SQUARE + "|" + POINTS, "g"))) {
    const numbers = match.slice(1).filter((part) => part !== undefined).map(Number);
    found.push({ numbers, points: match[0].startsWith("("), text: match[0] });
    if (found.length === 64) break;
  }
  return found;
}

// A box in shares of the picture's sides.
function placed(box, units, width, height) {
  const [x1, y1, x2, y2] = box.numbers;
  const all = (fx, fy) => [fx(x1), fy(y1), fx(x2), fy(y2)];
  if (units === "auto") {
    const largest = Math.max(...box.numbers);
    units = largest <= 1 ? "unit" : box.points || largest > Math.max(width, height) ? "thousand" : "pixels";
  }
  if (units === "unit") return all((x) => x, (y) => y);
  if (units === "thousand") return all((x) => x / 1000, (y) => y / 1000);
  if (units === "pixels") return all((x) => x / width, (y) => y / height);
  const side = Math.max(width, height);
  return all((x) => (x * side - (side - width) / 2) / width, (y) => (y * side - (side - height) / 2) / height);
}

function draw() {
  const { medium, boxes } = state;
  if (!medium || medium.kind === "audio") return;
  medium.frame.querySelector("svg")?.remove();
  const units = at("units").value;
  const width = medium.element.naturalWidth || medium.element.videoWidth;
  const height = medium.element.naturalHeight || medium.element.videoHeight;
  if (!boxes.length || units === "none" || !width || !height) return;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 1 1");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", boxes.length === 1 ? "One box" : boxes.length + " boxes");
  boxes.forEach((box, index) => {
    const [x1, y1, x2, y2] = placed(box, units, width, height).map((part) => Math.min(1, Math.max(0, part)));
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", "box-" + (index % 6));
    rect.setAttribute("x", Math.min(x1, x2));
    rect.setAttribute("y", Math.min(y1, y2));
    rect.setAttribute("width", Math.abs(x2 - x1));
    rect.setAttribute("height", Math.abs(y2 - y1));
    svg.append(rect);
  });
  medium.frame.append(svg);
}

function legend(turn, boxes) {
  turn.querySelector(".legend")?.remove();
  if (!boxes.length || !state.medium) return;
  const list = document.createElement("span");
  list.className = "legend";
  boxes.forEach((box, index) => {
    const entry = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = "box-" + (index % 6);
    entry.append(mark, box.text);
    list.append(entry);
  });
  turn.append(list);
}

// ---- the conversation

function say(text) {
  at("status").textContent = text;
}

function addTurn(who, text) {
  const turn = document.createElement("li");
  turn.className = "turn " + who;
  const name = document.createElement("span");
  name.className = "who";
  name.textContent = who === "user" ? "You" : state.model || "Model";
  const said = document.createElement("span");
  said.className = "said";
  said.textContent = text;
  turn.append(name, said);
  at("turns").append(turn);
  turn.scrollIntoView({ block: "end" });
  return { turn, said };
}

function part(medium) {
  const type = medium.kind + "_url";
  return { type, [type]: { url: medium.url } };
}

// The medium belongs to the first message, as in training.
function messages() {
  return state.turns.map(({ role, content }, index) => {
    if (index > 0 || !state.medium) return { role, content };
    const text = content ? [{ type: "text", text: content }] : [];
    return { role, content: [part(state.medium), ...text] };
  });
}

// The data of each event of a stream.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const event of parts) {
      if (event.startsWith("data: ")) yield event.slice(6);
    }
  }
}

async function ask(text) {
  if (state.medium && !state.medium.url) state.medium.url = await dataUrl(state.medium.file);
  const before = state.turns.length;
  state.turns.push({ role: "user", content: text });
  addTurn("user", text || "(the " + (state.medium ? state.medium.kind : "message") + ")");
  const { turn, said } = addTurn("assistant", "");
  turn.classList.add("busy");
  state.asking = new AbortController();
  busy(true);
  let answer = "";
  const since = performance.now();
  try {
    const response = await fetch("v1/chat/completions", {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      signal: state.asking.signal,
      body: JSON.stringify({
        model: state.model,
        messages: messages(),
        temperature: Number(at("temperature").value) || 0,
        max_tokens: Math.max(1, Math.round(Number(at("tokens").value)) || 256),
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
    if (!response.ok) {
      if (response.status === 401) void connect();
      throw new Error(await problem(response));
    }
    for await (const event of events(response.body)) {
      if (event === "[DONE]") break;
      const piece = JSON.parse(event);
      if (piece.error) throw new Error(piece.error.message);
      const more = piece.choices[0]?.delta?.content;
      if (more) {
        answer += more;
        said.textContent = answer.trimStart();
        state.boxes = boxesIn(answer);
        draw();
        turn.scrollIntoView({ block: "end" });
      }
      if (piece.usage) {
        const seconds = ((performance.now() - since) / 1000).toFixed(1);
        say(piece.usage.prompt_tokens + " tokens read, " + piece.usage.completion_tokens + " written in " + seconds + " s");
      }
    }
    state.turns.push({ role: "assistant", content: answer });
  } catch (error) {
    if (error.name === "AbortError") {
      say("Stopped.");
      state.turns.push({ role: "assistant", content: answer });
    } else {
      state.turns.length = before;
      turn.classList.add("bad");
      said.textContent = (answer ? answer + "\n" : "") + error.message;
    }
  } finally {
    turn.classList.remove("busy");
    legend(turn, state.boxes);
    state.asking = null;
    busy(false);
  }
}

function busy(is) {
  at("send").hidden = is;
  at("halt").hidden = !is;
  at("turns").setAttribute("aria-busy", String(is));
  if (is) say("…");
  else at("prompt").focus();
}

// ---- what the user does

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("prompt").value.trim();
  if (state.asking || (!text && !state.medium)) return;
  at("prompt").value = "";
  void ask(text);
});
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("form").requestSubmit();
  }
});
at("halt").addEventListener("click", () => state.asking?.abort());
at("file").addEventListener("change", () => {
  const file = at("file").files[0];
  if (file) void show(file);
});
at("units").addEventListener("change", draw);
at("remove").addEventListener("click", clearMedium);
at("again").addEventListener("click", () => {
  state.asking?.abort();
  state.turns = [];
  state.boxes = [];
  at("turns").replaceChildren();
  draw();
  say("");
  at("prompt").focus();
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) void show(file);
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file) void show(file);
});

void connect();
