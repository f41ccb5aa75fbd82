"use strict";
const SHOWN = 10; // classes
const SMALL = 64; // pixels; smaller pictures are enlarged without smoothing
const byId = (id) => document.getElementById(id);
const percent = (share) => (100 * share).toFixed(1) + "\u00a0%";
let latest = 0; // number of the latest request: an earlier answer that comes later is not shown

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

async function predict(file) {
  const number = ++latest;
  byId("error").hidden = true;
  byId("answer").hidden = true;
  byId("status").textContent = "Asking the model ...";
  const body = new FormData();
  body.append("file", file, file.name || "image");
  let answer;
  try {
    const response = await fetch("/v1/predict?nearest=6", { method: "POST", body });
    answer = await response.json();
    if (!response.ok) throw new Error(answer.error || response.statusText);
  } catch (error) {
    if (number === latest) fail(error.message);
    return;
  }
  if (number === latest) show(file, answer);
}

function fail(message) {
  byId("status").textContent = "";
  byId("error").textContent = "No answer: " + message;
  byId("error").hidden = false;
}

function show(file, answer) {
  const prediction = answer.predictions[0];
  const picture = byId("picture");
  if (picture.src) URL.revokeObjectURL(picture.src);
  picture.onload = () => picture.classList.toggle("small", Math.max(picture.naturalWidth, picture.naturalHeight) <= SMALL);
  picture.src = URL.createObjectURL(file);
  byId("name").textContent = file.name || "";
  byId("predicted").textContent = prediction.abstained ? "No answer" : prediction.predicted_class_name;
  byId("explained").textContent = explained(answer, prediction);
  byId("status").textContent = "Answer of " + answer.dataset + " " + answer.version + ": " + byId("predicted").textContent;
  const order = answer.classes.map((_, label) => label);
  order.sort((a, b) => prediction.probabilities[b] - prediction.probabilities[a]);
  byId("probabilities").tBodies[0].replaceChildren(...order.slice(0, SHOWN).map((label) => row(answer, prediction, label)));
  const left = order.length - SHOWN;
  byId("more").textContent = left > 0 ? "and " + left + " less probable classes" : "";
  nearest(prediction.nearest);
  byId("answer").hidden = false;
}

function explained(answer, prediction) {
  const probability = percent(prediction.probability);
  if (prediction.abstained) {
    return "The most probable class has " + probability + "; below " + percent(answer.threshold) + " the model abstains.";
  }
  if (answer.decision === "operating point") {
    return "Decided by the operating point; its probability is " + probability + ".";
  }
  return "The most probable class, with " + probability + ".";
}

function row(answer, prediction, label) {
  const made = element("tr");
  const share = prediction.probabilities[label];
  const bar = element("td");
  bar.append(element("meter", undefined, { min: 0, max: 1, value: share, "aria-hidden": "true" }));
  made.append(element("td", answer.classes[label]), element("td", percent(share)), bar);
  return made;
}

function nearest(images) {
  byId("nearest-section").hidden = !images || !images.length;
  byId("no-nearest").hidden = !byId("nearest-section").hidden;
  byId("nearest").replaceChildren(...(images || []).map((image) => {
    const made = element("li");
    made.append(
      element("img", undefined, { src: image.picture, alt: "training image of " + image.class_name }),
      element("span", image.class_name),
      element("small", image.similarity.toFixed(3) + ", " + image.path),
    );
    return made;
  }));
}

for (const id of ["file", "camera"]) {
  byId(id).addEventListener("change", (event) => { if (event.target.files.length) predict(event.target.files[0]); });
}
const drop = byId("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) predict(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) predict(file);
});
