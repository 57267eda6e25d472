// Makes the page quicker to use. Everything works without it, save dropping and pasting a photo.
"use strict";

const box = document.getElementById("q");
const photoForm = document.querySelector("[data-photo-form]");
const photoPanel = document.querySelector("[data-by-photo]");
const dropArea = document.querySelector("[data-drop]");
const notice = document.querySelector("[data-notice]");

function say(text, forMs) {
  notice.textContent = text;
  if (forMs) setTimeout(() => { if (notice.textContent === text) notice.textContent = ""; }, forMs);
}

function busy() {
  document.body.classList.add("busy");
  say(notice.dataset.searching);
}

function wantedTarget() {
  const chosen = document.querySelector("[data-ask] [name=to]:checked, [data-ask] [name=to][type=hidden]");
  return chosen ? chosen.value : "images";
}

function searchWith(file) {
  if (file.type && !file.type.startsWith("image/")) return say(notice.dataset.notAPhoto, 4000);
  if (file.size > notice.dataset.largestUploadMb * 2 ** 20) return say(notice.dataset.tooLarge, 4000);
  const files = new DataTransfer();
  files.items.add(file);
  photoForm.elements.image.files = files.files;
  if (box.value !== box.defaultValue) photoForm.elements.q.value = box.value;  // typed, and not asked yet: both at once
  sendPhoto();
}

function sendPhoto() {
  const button = photoForm.querySelector(`button[value="${wantedTarget()}"]`);
  photoForm.requestSubmit(button);
}

function carriesFiles(event) {
  return event.dataTransfer && Array.from(event.dataTransfer.types).includes("Files");
}

function watchDrops() {
  let depth = 0;
  const show = (shown) => { dropArea.hidden = !shown; if (!shown) depth = 0; };
  addEventListener("dragenter", (event) => { if (carriesFiles(event)) { depth += 1; show(true); } });
  addEventListener("dragleave", (event) => { if (carriesFiles(event) && --depth <= 0) show(false); });
  addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    show(false);
    if (event.dataTransfer.files.length) searchWith(event.dataTransfer.files[0]);
  });
}

function watchKeys() {
  addEventListener("keydown", (event) => {
    if (event.isComposing) return;  // keys of an input method, such as one for Chinese
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      box.focus();
      box.select();
    } else if (event.key === "Escape") {
      if (photoPanel.open) { photoPanel.open = false; photoPanel.querySelector("summary").focus(); }
      else if (event.target === box) box.blur();
    }
  });
  addEventListener("click", (event) => { if (!photoPanel.contains(event.target)) photoPanel.open = false; });
}

function watchPhotos() {
  addEventListener("paste", (event) => {
    const photo = Array.from(event.clipboardData.files).find((file) => file.type.startsWith("image/"));
    if (photo) { event.preventDefault(); searchWith(photo); }
  });
  photoForm.elements.image.addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) searchWith(file);
  });
}

async function waitForModel() {
  const waiting = document.querySelector("[data-waiting]");
  const state = document.querySelector("[data-model-state=loading]");
  if (!waiting && !state) return;
  const answer = await fetch("/readyz", { cache: "no-store" }).catch(() => null);
  const { status } = answer ? await answer.json().catch(() => ({})) : {};
  if (status === undefined || status === "loading") return void setTimeout(waitForModel, 1000);
  if (waiting) location.reload();
  else if (status === "ready") state.remove();
  else location.reload();
}

for (const part of document.querySelectorAll("[data-with-script]")) part.hidden = false;
async function watchBuilding() {
  const section = document.querySelector("[data-building=yes]");
  if (!section) return;
  const page = await fetch(location.href, { cache: "no-store" }).then((answer) => answer.text()).catch(() => null);
  const fresh = page && new DOMParser().parseFromString(page, "text/html").querySelector("[data-building]");
  if (fresh && fresh.dataset.building === "no") return location.reload();
  if (fresh) section.replaceChildren(...fresh.childNodes);
  setTimeout(watchBuilding, 2000);
}

for (const form of document.forms) form.addEventListener("submit", busy);
addEventListener("pageshow", () => { document.body.classList.remove("busy"); notice.textContent = ""; });
watchDrops();
watchKeys();
watchPhotos();
waitForModel();
watchBuilding();
